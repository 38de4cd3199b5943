"""Grad-CAM in its element-wise form, HiResCAM: which places of an image speak for pneumonia.

Grad-CAM (Selvaraju et al., 2017) averages the gradients of a channel over all positions before it weighs the
channel's activations, which is exact before global pooling only. In an earlier layer, and at 28 pixels only an earlier
one has a map worth the name, gradients of both signs cancel: on a trained classifier a seventh of the maps of true
positives and two fifths of those of false positives were empty. HiResCAM (Draelos and Carin, 2020) multiplies gradients
and activations position by position, which is what the layer contributed, and left none of them empty.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.classifiers import ResNet18Gray, grad_cam_layer
from models.preprocessing import Normalization, to_tensor


def grad_cam(
    model: ResNet18Gray,
    images: NDArray[np.uint8],
    normalization: Normalization,
    *,
    batch_size: int = 128,
) -> NDArray[np.float32]:
    """Map the evidence for pneumonia, whichever class is predicted.

    Args:
        model: the classifier; it stays as it is.
        images: shape (images, height, width), 0–255.
        normalization: statistics of the training pixels.
        batch_size: images a pass.

    Returns:
        Maps in [0, 1] of the images' shape, each scaled to its own maximum; all zeros where no place speaks for
        pneumonia.

    Raises:
        InputError: the images are not uint8 of three dimensions.
    """
    # A copy, since the package hangs hooks on the network, and other threads may use it.
    network = copy.deepcopy(model).eval()
    return layer_maps(network, grad_cam_layer(network), to_tensor(images, normalization), batch_size)


def layer_maps(network: nn.Module, layer: nn.Module, pixels: torch.Tensor, batch_size: int) -> NDArray[np.float32]:
    """Weigh one layer's activations by the gradients of a network's only output.

    Args:
        network: takes pixels, gives logits of shape (images,); in evaluation mode.
        layer: the part of it whose output is weighed, of shape (images, channels, rows, columns).
        pixels: normalised, shape (images, 1, height, width).
        batch_size: images a pass.

    Returns:
        Maps in [0, 1], float32, shape (images, height, width).
    """
    from pytorch_grad_cam import HiResCAM

    device = next(network.parameters()).device
    with torch.enable_grad(), HiResCAM(model=network, target_layers=[layer]) as method:
        maps = [method(batch.to(device), targets=[_identity] * len(batch)) for batch in pixels.split(batch_size)]
    return np.clip(np.concatenate(maps), 0, 1).astype(np.float32)


def _identity(logit: torch.Tensor) -> torch.Tensor:
    return logit
