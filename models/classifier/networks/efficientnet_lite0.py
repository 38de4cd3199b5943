"""EfficientNet-Lite0, which reads small images enlarged four times."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from models.classifier.networks.backbone import Backbone

ENLARGEMENT = 4
FEATURES = 1280


def efficientnet_lite0(channels: int) -> Backbone:
    """Build EfficientNet-Lite0 (Tan and Le, 2019, without squeeze-and-excitation) behind an enlargement of the image.

    Filters that were trained on photographs expect edges some pixels wide; at 28 pixels there are none. So the
    image is enlarged four times, and every stride stays.

    Args:
        channels: channels per image.

    Returns:
        The network, 1280 features per image. Grad-CAM reads the fifth stage, 7×7 positions of a 28-pixel image.
    """
    import timm  # takes a second, which only this network needs

    stages = timm.create_model("tf_efficientnet_lite0", in_chans=channels, num_classes=0, global_pool="")
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = nn.Sequential(OrderedDict(enlarge=_Enlarge(), stages=stages, pool=pool))
    return Backbone(network, embedding_size=FEATURES, grad_cam_layer="stages.blocks.4")


class _Enlarge(nn.Module):
    """Bicubic interpolation to four times the side."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.interpolate(images, scale_factor=ENLARGEMENT, mode="bicubic")
