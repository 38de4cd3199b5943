"""Does an explanation depend on what the model has learnt? The weight-randomisation test of Adebayo et al. (2018).

The trained weights are replaced by those of untrained networks of the same architecture, part by part from the head
down to the first layer, and the maps of every stage are compared to those of the trained network. Maps that stay alike
explain the images, not the model.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import generic_gradient_magnitude, sobel
from scipy.stats import rankdata
from skimage.metrics import structural_similarity
from torch import nn

from models.classifier.classifiers import Classifier, build_classifier
from models.classifier.preprocessing import Normalization, to_tensor

FIRST_SEED = 2**31
"""Above the seeds that a training can have, so that no untrained network is the initial state of a training."""

Explainer = Callable[[Classifier], NDArray[np.floating]]
"""From a network in evaluation mode to its maps of the images, shape (images, height, width)."""


@dataclass(frozen=True)
class WeightRandomisation:
    """How similar maps stay to those of the trained network.

    Attributes:
        methods: names of the ways to explain.
        stages: names of the parts, in the order of randomisation; each stage includes those before it.
        rank_correlations: Spearman's, shape (methods, stages, draws, images); 0 where a map is flat, since it ranks
            nothing.
        structural_similarities: SSIM (Wang et al., 2004), the same shape.
        flat: where the map of the randomised network is flat, the same shape.
        unrelated: rank correlation of the trained network's map with its map of the next image, shape (methods,
            images): what maps of this kind share anyway, their place in the image above all.
        examples: maps of the trained network and then of each stage in the first draw, shape (methods, stages + 1,
            shown images, height, width).
    """

    methods: tuple[str, ...]
    stages: tuple[str, ...]
    rank_correlations: NDArray[np.float64]
    structural_similarities: NDArray[np.float64]
    flat: NDArray[np.bool_]
    unrelated: NDArray[np.float64]
    examples: NDArray[np.float32]


def randomise_weights(
    model: Classifier,
    images: NDArray[np.uint8],
    normalization: Normalization,
    explainers: Mapping[str, Explainer],
    *,
    draws: int = 5,
    shown: int = 4,
) -> WeightRandomisation:
    """Compare maps while the weights are randomised from the head down (cascading randomisation).

    Args:
        model: the trained classifier; it stays as it is.
        images: what the explainers explain, shape (images, height, width) or (images, height, width, 3), 0–255; the
            batch normalisation of untrained parts takes its statistics from them, as at the start of a training.
        normalization: statistics of the training pixels.
        explainers: ways to explain, by name.
        draws: number of untrained networks.
        shown: images whose maps are kept, the first ones.

    Returns:
        The similarities.
    """
    stages = parts(model)
    pixels = to_tensor(images, normalization).to(next(model.parameters()).device)
    trained = {name: explain(model) for name, explain in explainers.items()}
    examples = {name: [maps[:shown]] for name, maps in trained.items()}
    shape = len(explainers), len(stages), draws, len(images)
    correlations, similarities, flat = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.bool_)
    for draw in range(draws):
        untrained = build_classifier(
            model.architecture,
            classes=model.classes,
            channels=model.channels,
            seed=FIRST_SEED + draw,
            frozen=model.frozen,
        )
        network = copy.deepcopy(model).eval()
        replaced: list[nn.Module] = []
        for stage, names in enumerate(stages.values()):
            for name in names:
                part = network.get_submodule(name)
                part.load_state_dict(untrained.get_submodule(name).state_dict())
                replaced.append(part)
            _settle_batch_normalisation(network, replaced, pixels)
            for method, (name, explain) in enumerate(explainers.items()):
                maps = explain(network)
                correlations[method, stage, draw] = rank_correlation(trained[name], maps)
                similarities[method, stage, draw] = _structural_similarity(trained[name], maps)
                flat[method, stage, draw] = np.ptp(maps, axis=(1, 2)) == 0
                if draw == 0:
                    examples[name].append(maps[:shown])
    return WeightRandomisation(
        methods=tuple(explainers),
        stages=tuple(stages),
        rank_correlations=correlations,
        structural_similarities=similarities,
        flat=flat,
        unrelated=np.array([rank_correlation(maps, np.roll(maps, 1, axis=0)) for maps in trained.values()]),
        examples=np.array([examples[name] for name in explainers], np.float32),
    )


def parts(model: Classifier) -> dict[str, list[str]]:
    """Divide a classifier into the parts that are randomised one after the other.

    Args:
        model: the classifier.

    Returns:
        Names of submodules by the name of their part, the head first and the first layer last. Each part of the
        backbone holds a child of it, with the batch normalisation that follows a lone convolution.
    """
    prefix, module = "backbone", model.backbone
    children = _children_with_weights(module)
    while len(children) == 1:
        ((name, module),) = children.items()
        prefix = f"{prefix}.{name}"
        children = _children_with_weights(module)
    groups: list[list[str]] = []
    for name, child in children.items():
        if isinstance(child, nn.BatchNorm2d) and groups:
            groups[-1].append(f"{prefix}.{name}")
        else:
            groups.append([f"{prefix}.{name}"])
    named = {group[0].removeprefix("backbone."): group for group in reversed(groups)}
    return {"head": ["head"]} | named


def edge_maps(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute the edges of images: maps that look like explanations but do not depend on a model.

    Args:
        images: shape (images, height, width) or (images, height, width, 3), 0–255.

    Returns:
        Magnitude of the Sobel gradient in [0, 1], shape (images, height, width), each scaled to its own maximum.
    """
    grey = images.mean(axis=-1) if images.ndim == 4 else images
    edges = np.array([generic_gradient_magnitude(image.astype(np.float32), sobel) for image in grey])
    return edges / np.maximum(edges.max(axis=(1, 2), keepdims=True), 1e-6)


def rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compare maps by Spearman's rank correlation over the pixels; ties share their rank.

    Args:
        first: maps, shape (images, height, width).
        second: maps to compare them to, the same shape.

    Returns:
        Correlations in [-1, 1], shape (images,); 0 where a map is flat.
    """
    centred = []
    for maps in (first, second):
        ranks = rankdata(maps.reshape(len(maps), -1), axis=1)
        centred.append(ranks - ranks.mean(axis=1, keepdims=True))
    covariance = (centred[0] * centred[1]).sum(axis=1)
    scale = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return np.divide(covariance, scale, out=np.zeros(len(first)), where=scale > 0)


def _structural_similarity(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.array([structural_similarity(*pair, data_range=1.0) for pair in zip(first, second, strict=True)])


def _children_with_weights(module: nn.Module) -> dict[str, nn.Module]:
    return {name: child for name, child in module.named_children() if any(True for _ in child.parameters())}


def _settle_batch_normalisation(network: nn.Module, replaced: list[nn.Module], pixels: torch.Tensor) -> None:
    """Take the statistics of untrained batch normalisation from the images: without them signals vanish or explode."""
    layers = [layer for part in replaced for layer in part.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
        layer.train()
    if not layers:
        return
    with torch.inference_mode():
        for batch in pixels.split(128):
            network(batch)
    network.eval()
