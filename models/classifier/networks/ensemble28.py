"""Small residual networks at full resolution side by side, as one."""

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from models.classifier.networks.backbone import Backbone

WIDTHS = (16, 32, 64)
FEATURES = 512


def ensemble28(channels: int, branches: int = 4) -> Backbone:
    """Build residual networks that share no weights, each with an equal share of the features.

    A branch is the ResNet-14 that He et al. (2016) made for 32×32 pixels: it starts at full resolution and ends at 7×7
    positions of a 28-pixel image. Each branch is trained on its own loss, so that they are an ensemble
    (Lakshminarayanan et al., 2017): they err differently, and their mean errs less. It is one network all the same,
    with one embedding and one heat map.

    Args:
        channels: channels per image.
        branches: how many networks, a divisor of 512.

    Returns:
        The network, 512 features per image. Grad-CAM reads the last residual stages of all branches together, 7×7.
    """
    network = nn.Sequential(
        OrderedDict(
            stages=_SideBySide(channels, (_stages(channels) for _ in range(branches))),
            expand=_unit(branches * WIDTHS[-1], FEATURES, kernel_size=1, groups=branches),
            pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
    )
    return Backbone(network, embedding_size=FEATURES, grad_cam_layer="stages", branches=branches)


class _SideBySide(nn.ModuleList):
    """Networks whose maps are put one behind the other; they read the same images, or each its own channels."""

    def __init__(self, channels: int, networks: Iterable[nn.Module]) -> None:
        super().__init__(networks)
        self.channels = channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        own = images.shape[1] > self.channels
        views = images.split(self.channels, dim=1) if own else (images,) * len(self)
        return torch.cat([network(view) for network, view in zip(self, views, strict=True)], dim=1)


def _stages(channels: int) -> nn.Sequential:
    early, middle, late = WIDTHS
    return nn.Sequential(
        _unit(channels, early, kernel_size=3),
        BasicBlock(early, early),
        BasicBlock(early, early),
        _halving(early, middle),
        BasicBlock(middle, middle),
        _halving(middle, late),
        BasicBlock(late, late),
    )


def _halving(inputs: int, outputs: int) -> BasicBlock:
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride=2, downsample=shortcut)


def _unit(inputs: int, outputs: int, *, kernel_size: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
