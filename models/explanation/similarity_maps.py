"""Where two images agree: the cosine of their embeddings, split over the places of each.

An embedding that is the average of a feature map makes the cosine of two images a sum over all pairs of their places
(Stylianou, Souvenir and Pless, "Visualizing Deep Similarity Networks", WACV 2019): nothing is estimated, and the parts
add up to the cosine. What a place of one image contributes is its sum over all places of the other. Every network that
is trained here ends in such an average; at 28 pixels the ensembles and `compact28` in one of 7×7 places,
`efficientnet_lite0` of 4×4, and `resnet18_gray` and `efficientnet_b0` of 2×2, too coarse to point at anything.
"""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from models.classifier.classifiers import Classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization, to_tensor
from models.errors import InputError
from models.vector_index import normalize

HIGHEST, OTHER_PAIR, RANDOM, LOWEST = "highest places", "highest of another pair", "random places", "lowest places"


class SimilarityMaps(NamedTuple):
    """What each place contributes to the cosine of two images; either map of a pair adds up to it.

    Attributes:
        queries: float32, shape (pairs, rows, columns).
        neighbours: float32, the same shape.
        cosines: of the embeddings, in [-1, 1], float32, shape (pairs,).
    """

    queries: NDArray[np.float32]
    neighbours: NDArray[np.float32]
    cosines: NDArray[np.float32]


@dataclass(frozen=True)
class MaskingDrop:
    """How far the cosine of query and neighbour falls when places of the neighbour are masked.

    Attributes:
        share: of the places that are masked, as asked.
        orders: names of the orders in which places were chosen.
        falls: positive where masking made the pair less alike, shape (orders, pairs).
    """

    share: float
    orders: tuple[str, ...]
    falls: NDArray[np.float64]


def similarity_maps(
    model: Classifier,
    queries: NDArray[np.uint8],
    neighbours: NDArray[np.uint8],
    normalization: Normalization,
    *,
    batch_size: int = 128,
) -> SimilarityMaps:
    """Split the cosine of each pair of images over the places of both.

    The embeddings are those of `predict`, averaged over an image and its mirror image; the map of the mirror image is
    flipped back, so that a place is the same in both.

    Args:
        model: the classifier, on any device; it stays as it is.
        queries: shape (pairs, height, width) or (pairs, height, width, 3), 0–255.
        neighbours: the other image of each pair, of the same shape.
        normalization: statistics of the training pixels.
        batch_size: pairs per forward pass.

    Returns:
        The maps, as coarse as the network's last feature map, and the cosines.

    Raises:
        InputError: the images do not fit the model, its embedding is no average of a feature map, or the embedding of
            an image has no direction.
    """
    if queries.shape != neighbours.shape:
        raise ValueError(f"Queries of shape {queries.shape} and neighbours of shape {neighbours.shape} are no pairs.")
    network = copy.deepcopy(model).eval()  # a copy, since it gets a hook, and other threads may use the model
    batches = [slice(start, start + batch_size) for start in range(0, max(len(queries), 1), batch_size)]
    parts = [
        split_cosine(
            feature_maps(network, to_tensor(queries[batch], normalization)),
            feature_maps(network, to_tensor(neighbours[batch], normalization)),
        )
        for batch in batches
    ]
    return SimilarityMaps(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def feature_maps(network: Classifier, pixels: torch.Tensor) -> NDArray[np.float32]:
    """Compute the maps whose averages over all places are the embeddings of images.

    Args:
        network: the classifier in evaluation mode; it has a hook meanwhile.
        pixels: normalised, shape (images, channels, height, width).

    Returns:
        Maps, the mean of an image's and its turned mirror image's, shape (images, features, rows, columns).

    Raises:
        InputError: the embedding is no average of a feature map.
    """
    pixels = pixels.to(next(network.parameters()).device, memory_format=torch.channels_last)
    kept: list[torch.Tensor] = []
    # The last pooling of the network: those before it belong to squeeze-and-excitation.
    poolings = [module for module in network.backbone.modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
    with torch.inference_mode():
        for pooling in poolings[-1:]:
            with pooling.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0])):
                embeddings = [network.embed(pixels), network.embed(pixels.flip(-1))]
        averages = [features.mean(dim=(2, 3)) for features in kept]
        if not averages or any(
            average.shape != embedding.shape or not torch.allclose(average, embedding, rtol=1e-4, atol=1e-5)
            for average, embedding in zip(averages, embeddings, strict=True)
        ):
            raise InputError(
                f"The embedding of {network.architecture} is not the average of its last feature map, so its cosines "
                "cannot be split over places; choose an architecture that ends in global average pooling."
            )
        plain, mirrored = kept
        return ((plain + mirrored.flip(-1)) / 2).cpu().numpy()


def split_cosine(queries: NDArray[np.floating], neighbours: NDArray[np.floating]) -> SimilarityMaps:
    """Split the cosines of average-pooled feature maps over the places.

    Args:
        queries: feature maps, shape (pairs, features, rows, columns).
        neighbours: the other of each pair, the same shape.

    Returns:
        The maps and the cosines.

    Raises:
        InputError: the average of a map has no direction.
    """
    places = queries.shape[2] * queries.shape[3]
    pooled = [maps.mean(axis=(2, 3), dtype=np.float64) for maps in (queries, neighbours)]
    units = [normalize(vectors) for vectors in pooled]
    lengths = [places * np.linalg.norm(vectors, axis=1)[:, None, None] for vectors in pooled]
    return SimilarityMaps(
        (np.einsum("nchw,nc->nhw", queries, units[1]) / lengths[0]).astype(np.float32),
        (np.einsum("nchw,nc->nhw", neighbours, units[0]) / lengths[1]).astype(np.float32),
        np.einsum("nc,nc->n", *units),
    )


def masking_drop(
    model: Classifier,
    queries: NDArray[np.uint8],
    neighbours: NDArray[np.uint8],
    normalization: Normalization,
    *,
    share: float = 0.2,
    random_draws: int = 5,
    seed: int = 0,
) -> MaskingDrop:
    """Check the maps: mask places of the neighbour, and measure how far its cosine with the query falls.

    The pixels under a place are replaced by the mean of the training pixels. A place looks further than the pixels
    under it, so the check is not won by construction. Of a faithful map, the highest places cost more than random
    ones, and those more than the lowest. All chests are alike, and so are all maps: only if the highest places cost
    more than those of another pair's map does a map say something of its own pair.

    Args:
        model: the classifier.
        queries: shape (pairs, height, width) or (pairs, height, width, 3), 0–255.
        neighbours: the other image of each pair, of the same shape. Two pairs are needed to swap maps.
        normalization: statistics of the training pixels; their means replace masked pixels.
        share: of the places to mask, in (0, 1); at least one is.
        random_draws: random choices of places per pair, whose falls are averaged.
        seed: seed of these choices.

    Returns:
        The falls for `HIGHEST`, `OTHER_PAIR`, `RANDOM` and `LOWEST`.

    Raises:
        InputError: as `similarity_maps`.
    """
    maps = similarity_maps(model, queries, neighbours, normalization)
    generator = np.random.default_rng(seed)
    count = max(1, round(share * maps.neighbours[0].size))
    blank = np.rint(255 * np.array(normalization.mean)).astype(np.uint8)
    query_units = normalize(predict(model, queries, normalization).embeddings)

    def fall(importance: NDArray[np.floating]) -> NDArray[np.float64]:
        gone = _pixels_under(highest_places(importance, count), neighbours.shape[1:3])
        masked = np.where(gone if neighbours.ndim == 3 else gone[..., None], blank, neighbours)
        units = normalize(predict(model, masked, normalization).embeddings)
        return (maps.cosines - np.einsum("nc,nc->n", query_units, units)).astype(np.float64)

    importance = maps.neighbours
    falls = {
        HIGHEST: fall(importance),
        OTHER_PAIR: fall(np.roll(importance, 1, axis=0)),
        RANDOM: np.mean([fall(generator.random(importance.shape)) for _ in range(random_draws)], axis=0),
        LOWEST: fall(-importance),
    }
    return MaskingDrop(share, tuple(falls), np.stack(list(falls.values())))


def highest_places(maps: NDArray[np.floating], count: int) -> NDArray[np.bool_]:
    """Mark the highest places of each map.

    Args:
        maps: shape (images, rows, columns).
        count: places per image; ties go to the first.

    Returns:
        Marks of the same shape, `count` of them per image.
    """
    order = np.argsort(-maps.reshape(len(maps), -1), axis=1, kind="stable")
    marks = np.zeros(order.shape, dtype=np.bool_)
    np.put_along_axis(marks, order[:, :count], True, axis=1)
    return marks.reshape(maps.shape)


def _pixels_under(places: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Spread marks of places over the pixels under them."""
    marks = torch.from_numpy(places[:, None].astype(np.float32))
    return functional.interpolate(marks, shape, mode="nearest")[:, 0].numpy() > 0
