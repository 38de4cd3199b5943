"""Grad-CAM in its element-wise form, HiResCAM: which positions of an image are evidence for a class.

Grad-CAM (Selvaraju et al., 2017) averages the gradients of a channel over all positions before it weighs the
channel's activations, which is exact before global pooling only. In an earlier layer, and at 28 pixels only an earlier
one has a map worth the name, gradients of both signs cancel: on a trained classifier a seventh of the maps of true
positives and two fifths of those of false positives were empty. HiResCAM (Draelos and Carin, 2020) multiplies gradients
and activations position by position, which is what the layer contributed, and left none of them empty.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.classifier.classifiers import Classifier
from models.classifier.preprocessing import Normalization, to_tensor
from models.errors import InputError

Evidence = Callable[[torch.Tensor], torch.Tensor]
"""From the logits of one image to the scalar that is explained."""


def grad_cam(
    model: Classifier,
    images: NDArray[np.uint8],
    normalization: Normalization,
    *,
    target: int | NDArray[np.integer] | None = None,
    batch_size: int = 128,
) -> NDArray[np.float32]:
    """Map the evidence for a class.

    Args:
        model: the classifier; it stays as it is.
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        normalization: statistics of the training pixels.
        target: the class, of all images or of each, shape (images,); None explains the likeliest class of each image,
            which of two classes is the one whose log-odds are above 0. Of two classes, evidence for class 0 is
            evidence against class 1.
        batch_size: images per pass.

    Returns:
        Maps in [0, 1], shape (images, height, width), each stretched from its lowest to its highest value; all zeros
        where no position is evidence for the class.

    Raises:
        InputError: a class is unknown to the model, or the images do not fit it.
    """
    targets = [None] * len(images) if target is None else np.broadcast_to(target, len(images)).tolist()
    # A copy, since the package adds hooks to the network, and other threads may use it.
    network = copy.deepcopy(model).eval()
    return layer_maps(
        network,
        network.grad_cam_layer,
        to_tensor(images, normalization),
        [_evidence(each, model.classes) for each in targets],
        min(batch_size, model.largest_batch),
    )


def layer_maps(
    network: nn.Module, layer: nn.Module, pixels: torch.Tensor, evidence: list[Evidence], batch_size: int
) -> NDArray[np.float32]:
    """Weigh one layer's activations by the gradients of a scalar of the logits.

    Args:
        network: from pixels to logits, one row per image; in evaluation mode. Its parameters require no gradients
            afterwards, but for one of the layer, if it has any; else its output does.
        layer: the part of it whose output is weighed, of shape (images, channels, rows, columns).
        pixels: normalised, shape (images, channels, height, width).
        evidence: what is explained, one per image.
        batch_size: images per pass.

    Returns:
        Maps in [0, 1], float32, shape (images, height, width).
    """
    from pytorch_grad_cam import HiResCAM

    device = next(network.parameters()).device
    # One parameter is enough for the graph to begin in the layer; those of the others would take most of the time.
    network.requires_grad_(False)
    for parameter in list(layer.parameters())[-1:]:
        parameter.requires_grad_(True)
    maps = []
    with torch.enable_grad(), HiResCAM(model=network, target_layers=[layer]) as method:
        for start in range(0, len(pixels), batch_size):
            batch = pixels[start : start + batch_size].to(device)
            maps.append(method(batch, targets=evidence[start : start + batch_size]))
    return np.clip(np.concatenate(maps), 0, 1).astype(np.float32)


def _evidence(target: int | None, classes: int) -> Evidence:
    if target is None:
        return torch.abs if classes == 2 else torch.max
    if not 0 <= target < classes:
        raise InputError(
            f"Class {target} was to be explained, but the model knows {classes}; choose from 0 to {classes - 1}."
        )
    if classes == 2:
        return torch.positive if target == 1 else torch.neg
    return lambda logits: logits[target]
