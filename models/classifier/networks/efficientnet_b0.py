"""EfficientNet-B0 with strides for small images."""

import torchvision
from torch import nn

from models.classifier.networks.backbone import Backbone


def efficientnet_b0(channels: int) -> Backbone:
    """Build EfficientNet-B0 (Tan and Le, 2019) with four strides of 2 instead of five.

    At 28 pixels the stock network ends in 1×1. Here the fourth stage keeps the resolution, so that the feature maps
    have 4×4 positions from the third to the fifth stage and 2×2 at the end; every weight keeps its stock shape, so that
    ImageNet weights fit. Stochastic depth is off, since it draws from PyTorch's global generator: another thread could
    change a training.

    Args:
        channels: channels per image.

    Returns:
        The network, 1280 features per image. Grad-CAM reads the fifth stage, the last with 4×4 positions.
    """
    network = torchvision.models.efficientnet_b0(weights=None, stochastic_depth_prob=0.0)
    network.features[0][0] = nn.Conv2d(channels, 32, kernel_size=3, stride=2, padding=1, bias=False)
    for module in network.features[4].modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
    network.classifier = nn.Identity()
    return Backbone(network, embedding_size=1280, grad_cam_layer="features.5")
