"""The networks that tell the classes of small images apart."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from models.choices import Architecture
from models.classifier.networks.backbone import Backbone
from models.classifier.networks.compact28 import compact28
from models.classifier.networks.efficientnet_b0 import efficientnet_b0
from models.classifier.networks.efficientnet_lite0 import efficientnet_lite0
from models.classifier.networks.ensemble28 import ensemble28
from models.classifier.networks.resnet18_gray import resnet18_gray
from models.classifier.pretrained import load_backbone
from models.errors import InputError

_BACKBONES: dict[Architecture, Callable[[int], Backbone]] = {
    "resnet18_gray": resnet18_gray,
    "efficientnet_b0": efficientnet_b0,
    "efficientnet_lite0": efficientnet_lite0,
    "compact28": compact28,
    "ensemble28": ensemble28,
}


class Classifier(nn.Module):
    """A network that reads features off an image, and a linear head that reads the classes off the features.

    Attributes:
        architecture: name of the network.
        classes: number of classes, at least two.
        channels: channels of an image.
        embedding_size: features an image.
        branches: parts of the network that share no weights, each with its own share of the features.
        backbone: the network.
        head: the linear layer; one output for two classes, otherwise one a class.
    """

    def __init__(self, architecture: Architecture, *, classes: int, channels: int) -> None:
        super().__init__()
        parts = _BACKBONES[architecture](channels)
        self.architecture = architecture
        self.classes = classes
        self.channels = channels
        self.embedding_size = parts.embedding_size
        self.branches = parts.branches
        self.grad_cam_layer = parts.grad_cam_layer
        self.backbone = parts.network
        self.head = nn.Linear(parts.embedding_size, 1 if classes == 2 else classes)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features that the head reads: the network with its last layer replaced by the identity.

        Args:
            images: normalised pixels, shape (images, channels, height, width).

        Returns:
            Embeddings, shape (images, embedding_size).
        """
        return self.backbone(images)

    def classify(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Compute the logits of embeddings.

        Args:
            embeddings: what `embed` gave, shape (images, embedding_size).

        Returns:
            Logits: for two classes the log-odds of class 1, shape (images,); otherwise shape (images, classes).
        """
        logits = self.head(embeddings)
        return logits.squeeze(1) if self.classes == 2 else logits

    def branch_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Compute what each branch says by itself; the mean over the branches is what `forward` gives.

        Trained on the mean, branches would share the work; trained each on its own, they are an ensemble
        (Lakshminarayanan et al., 2017) that one pass computes.

        Args:
            images: normalised pixels, shape (images, channels, height, width).

        Returns:
            Logits, shape (branches, images) for two classes, otherwise (branches, images, classes).
        """
        if self.branches == 1:
            return self(images).unsqueeze(0)
        features = self.embed(images).unflatten(1, (self.branches, -1))
        weights = self.head.weight.unflatten(1, (self.branches, -1))
        logits = self.branches * torch.einsum("nbf,cbf->bnc", features, weights) + self.head.bias
        return logits.squeeze(2) if self.classes == 2 else logits

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the logits of images.

        Args:
            images: normalised pixels, shape (images, channels, height, width).

        Returns:
            Logits: for two classes the log-odds of class 1, shape (images,); otherwise shape (images, classes).
        """
        return self.classify(self.embed(images))


def build_classifier(
    architecture: Architecture,
    *,
    classes: int = 2,
    channels: int = 1,
    seed: int = 0,
    pretrained: Path | None = None,
) -> Classifier:
    """Build a network with random weights, or with a head of random weights on a pretrained one.

    Args:
        architecture: its name.
        classes: number of classes, at least two.
        channels: channels of an image: 1 for grey, 3 for colour.
        seed: seed of the weights. They come from a generator of their own, so that neither another thread nor the
            state of the global one changes them, and the global one is left as it was.
        pretrained: file of weights for all but the head, as `load_backbone` reads it.

    Returns:
        The network, in training mode.

    Raises:
        InputError: the name is unknown, there are fewer than two classes or no channels, or the file does not fit.
    """
    if architecture not in get_args(Architecture):
        raise InputError(f"Unknown architecture {architecture!r}; choose one of: {', '.join(get_args(Architecture))}.")
    if classes < 2 or channels < 1:
        raise InputError(
            f"A classifier of {classes} classes on images of {channels} channels was asked for; it needs at least two "
            "classes and one channel."
        )
    with torch.random.fork_rng(devices=[]):
        model = Classifier(architecture, classes=classes, channels=channels)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01, generator=generator)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    if pretrained is not None:
        load_backbone(model.backbone, pretrained)
    return model


def grad_cam_layer(model: Classifier) -> nn.Module:
    """Find the layer whose activations Grad-CAM weighs.

    Args:
        model: the classifier.

    Returns:
        The layer, a part of the model, with a map of at least 4×4 positions at 28 pixels.
    """
    return model.backbone.get_submodule(model.grad_cam_layer)
