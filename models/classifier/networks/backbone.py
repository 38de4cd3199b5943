"""What a classifier needs to know of a network without its head."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Backbone:
    """A network from pixels to features.

    Attributes:
        network: maps normalised pixels, shape (images, channels, height, width), to features, shape (images,
            embedding_size).
        embedding_size: features per image.
        grad_cam_layer: name of the submodule whose activations Grad-CAM weighs; at 28 pixels at least 4×4 positions.
        branches: parts that share no weights; the features are those of the first, then those of the second, and so
            on, equally many of each.
        mirrored: whether features are averaged over an image and its mirror image.
        largest_batch: images that fit the memory in one pass.
    """

    network: nn.Module
    embedding_size: int
    grad_cam_layer: str
    branches: int = 1
    mirrored: bool = True
    largest_batch: int = 512
