"""Is an explanation faithful to the model? Deletion and insertion of pixels (Petsiuk et al., 2018).

Pixels are replaced by the mean of the training pixels, the most important first: a faithful map makes the probability
of the explained class fall fast (deletion). The other way round, pixels are put back onto a blank image, the most
important first: it should rise fast (insertion). Random orders are the baseline, since the probability also falls when
arbitrary pixels are removed: of single pixels, which leave noise that a network may respond to (it pushed one
classifier towards normal), and of patches as coarse as a map, which leave none and are the fair comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.classifier.classifiers import Classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization

RANDOM_PIXELS, RANDOM_PATCHES = "random pixels", "random patches"
PATCHES_A_SIDE = 7  # positions of the layer behind a map at 28 pixels


@dataclass(frozen=True)
class PixelRemoval:
    """How the probability of the explained class changes as pixels are removed and put back.

    Attributes:
        orders: names of the orders of the pixels.
        targets: the explained class of each image, shape (images,).
        deletion: probability after each step, from the whole image to the blank one, shape (orders, images, steps + 1).
        insertion: from the blank image to the whole one, the same shape.
    """

    orders: tuple[str, ...]
    targets: NDArray[np.int64]
    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]


def remove_pixels(
    model: Classifier,
    images: NDArray[np.uint8],
    normalization: Normalization,
    scores: Mapping[str, NDArray[np.floating]],
    targets: NDArray[np.integer],
    *,
    steps: int = 10,
    random_draws: int = 2,
    seed: int = 0,
) -> PixelRemoval:
    """Delete and insert pixels in the order of each map, and in random orders.

    Args:
        model: the classifier.
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        normalization: statistics of the training pixels; their means replace a pixel that is removed.
        scores: maps by name, each of shape (images, height, width), the most important pixel highest. Ties are broken
            at random.
        targets: the class whose probability is followed, shape (images,).
        steps: number of steps of equal size in which the pixels are removed.
        random_draws: random orders per image and kind, whose curves are averaged. What an order deletes, the reversed
            order inserts, and that is as random: one curve serves for both.
        seed: seed of the random orders and of the ties.

    Returns:
        The curves of each map and, last, of `RANDOM_PIXELS` and `RANDOM_PATCHES`.
    """
    generator = np.random.default_rng(seed)
    pixels = images.shape[1] * images.shape[2]
    removed = np.rint(np.linspace(0, pixels, steps + 1)).astype(np.int64)
    blank = np.rint(255 * np.array(normalization.mean)).astype(np.uint8)

    def probabilities(gone: NDArray[np.bool_]) -> NDArray[np.float64]:
        mask = gone if images.ndim == 3 else gone[..., None]
        changed = np.where(mask, blank if images.ndim == 4 else blank[0], images)
        return _probability(predict(model, changed, normalization, flip=False).logits, targets)

    whole, empty = (probabilities(np.full(images.shape[:3], gone)) for gone in (False, True))

    def delete(order: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.stack([whole, *(probabilities(order < count) for count in removed[1:-1]), empty], axis=1)

    def insert(order: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.stack([empty, *(probabilities(order >= count) for count in removed[1:-1]), whole], axis=1)

    def delete_at_random(side: tuple[int, int]) -> NDArray[np.float64]:
        draws = [random_maps(images.shape[:3], side, generator) for _ in range(random_draws)]
        return np.mean([delete(importance_order(maps, generator)) for maps in draws], axis=0)

    orders = [importance_order(maps, generator) for maps in scores.values()]
    at_random = [delete_at_random(images.shape[1:3]), delete_at_random((PATCHES_A_SIDE, PATCHES_A_SIDE))]
    return PixelRemoval(
        orders=(*scores, RANDOM_PIXELS, RANDOM_PATCHES),
        targets=targets.astype(np.int64),
        deletion=np.stack([*map(delete, orders), *at_random]),
        insertion=np.stack([*map(insert, orders), *(curves[:, ::-1] for curves in at_random)]),
    )


def random_maps(
    shape: tuple[int, int, int], side: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Draw random maps.

    Args:
        shape: images, height, width.
        side: rows and columns of the noise, which is stretched over the image as Grad-CAM stretches its maps.
        generator: draws the noise.

    Returns:
        Maps in [0, 1] of the shape.
    """
    noise = torch.from_numpy(generator.random((shape[0], 1, *side)))
    return functional.interpolate(noise, shape[1:], mode="bilinear")[:, 0].numpy()


def importance_order(scores: NDArray[np.floating], generator: np.random.Generator) -> NDArray[np.int64]:
    """Rank the pixels of each image, the most important first.

    Args:
        scores: shape (images, height, width).
        generator: breaks ties; by position they would favour the top of the image.

    Returns:
        Ranks from 0, the same shape.
    """
    flat = scores.reshape(len(scores), -1)
    sequence = np.lexsort((generator.random(flat.shape), -flat), axis=1)
    return np.argsort(sequence, axis=1).reshape(scores.shape)


def area(curves: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the area under curves over the share of the pixels, by the trapezoidal rule.

    Args:
        curves: steps of equal size along the last axis.

    Returns:
        Areas in [0, 1], without the last axis. Low is good for deletion, high for insertion.
    """
    return np.trapezoid(curves, dx=1 / (curves.shape[-1] - 1), axis=-1)


def _probability(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """Compute the probability of each image's target class."""
    if logits.ndim == 1:
        logits = np.stack([np.zeros_like(logits), logits], axis=1)
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponentials[np.arange(len(targets)), targets] / exponentials.sum(axis=1)
