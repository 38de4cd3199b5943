"""The networks, a file each, found by name: the file of an architecture defines a function of the same name.

It takes the number of channels per image, that of the probe its frozen features too, and returns a `Backbone`.
"""

from importlib import import_module

from models.choices import PROBE, Architecture
from models.classifier.networks.backbone import Backbone
from models.classifier.networks.probe import FrozenFeatures
from models.errors import InputError


def build_backbone(architecture: Architecture, channels: int, frozen: FrozenFeatures | None = None) -> Backbone:
    """Build a network without its head.

    Args:
        architecture: its name.
        channels: channels per image.
        frozen: of a probe only, where its features come from.

    Returns:
        The network, with PyTorch's own random weights where it is trained.

    Raises:
        InputError: a probe is asked for without features, or another network with them.
    """
    if (architecture == PROBE) != (frozen is not None):
        raise InputError(
            f"The architecture {architecture} was asked for {'with' if frozen else 'without'} a frozen encoder, which "
            "a probe stands on and no other network; train it again."
        )
    given = (channels,) if frozen is None else (channels, frozen)
    backbone: Backbone = getattr(import_module(f"{__name__}.{architecture}"), architecture)(*given)
    return backbone
