"""Eight small residual networks at full resolution side by side, as one."""

from models.classifier.networks.backbone import Backbone
from models.classifier.networks.ensemble28 import ensemble28


def ensemble28x8(channels: int) -> Backbone:
    """Build `ensemble28` of eight networks in the place of four: an epoch takes twice as long, and the mean errs less.

    Args:
        channels: channels per image.

    Returns:
        The network, 512 features per image, 64 of each of the eight.
    """
    return ensemble28(channels, branches=8)
