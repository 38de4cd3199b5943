"""The networks that tell pneumonia from normal."""

from typing import Literal, get_args

import torch
import torchvision
from torch import nn

from models.errors import InputError

Architecture = Literal["resnet18_gray"]
EMBEDDING_SIZE = 512


class ResNet18Gray(nn.Module):
    """ResNet-18 (He et al., 2016) for small grey images.

    The stem is a 3×3 convolution of stride 2 without the max-pooling that follows in the stock network: 28-pixel
    images enter the residual stages at 14×14 and leave them at 2×2. The stock stem (7×7 and pooling, 1×1 at the end)
    takes a third of the time and reaches the same AUC, but its features retrieve worse over the whole ranking, and
    only the first half of the network has a map that Grad-CAM could explain.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torchvision.models.resnet18(weights=None)
        self.backbone.conv1 = nn.Conv2d(1, 64, kernel_size=3, stride=2, padding=1, bias=False)
        self.backbone.maxpool = nn.Identity()
        self.backbone.fc = nn.Identity()
        self.head: nn.Module = nn.Linear(EMBEDDING_SIZE, 1)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features that the head reads: the network with its last layer replaced by the identity.

        Args:
            images: normalised pixels, shape (images, 1, height, width).

        Returns:
            Embeddings, shape (images, 512).
        """
        return self.backbone(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the log-odds of pneumonia.

        Args:
            images: normalised pixels, shape (images, 1, height, width).

        Returns:
            Logits, shape (images,).
        """
        return self.head(self.embed(images)).squeeze(1)


def build_classifier(architecture: Architecture, seed: int = 0) -> ResNet18Gray:
    """Build a network with random weights.

    Args:
        architecture: its name.
        seed: seed of the weights. They come from a generator of their own, so that neither another thread nor the
            state of the global one changes them, and the global one is left as it was.

    Returns:
        The network, in training mode.

    Raises:
        InputError: the name is unknown.
    """
    if architecture not in get_args(Architecture):
        raise InputError(f"Unknown architecture {architecture!r}; choose one of: {', '.join(get_args(Architecture))}.")
    with torch.random.fork_rng(devices=[]):
        network = ResNet18Gray()
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01, generator=generator)
            nn.init.zeros_(module.bias)
    return network


def grad_cam_layer(model: ResNet18Gray) -> nn.Module:
    """Name the layer whose activations Grad-CAM weighs.

    The last stage is the usual choice at 224 pixels; at 28 it has 2×2 positions, which cannot point at anything. The
    third has 4×4, the second 7×7, and there the positions are fine enough to tell parts of a lung apart.

    Args:
        model: the classifier.

    Returns:
        The layer, a part of the model.
    """
    return model.backbone.layer2
