"""The networks, a file each, found by name: the file of an architecture defines a function of the same name.

It takes the number of channels per image and returns a `Backbone`.
"""

from importlib import import_module

from models.choices import Architecture
from models.classifier.networks.backbone import Backbone


def build_backbone(architecture: Architecture, channels: int) -> Backbone:
    """Build a network without its head.

    Args:
        architecture: its name.
        channels: channels per image.

    Returns:
        The network, with PyTorch's own random weights.
    """
    backbone: Backbone = getattr(import_module(f"{__name__}.{architecture}"), architecture)(channels)
    return backbone
