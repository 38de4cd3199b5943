"""Classifiers of small images: a network and a linear head."""

from pathlib import Path

import torch
from torch import nn

from models.choices import ARCHITECTURES, Architecture
from models.classifier.networks import build_backbone
from models.classifier.networks.probe import FrozenFeatures
from models.classifier.pretrained import load_backbone
from models.errors import InputError


class Classifier(nn.Module):
    """A network that extracts features from an image, and a linear head that classifies the features.

    Attributes:
        architecture: name of the network.
        classes: number of classes, at least two.
        channels: channels per image.
        embedding_size: features per image.
        branches: parts of the network that share no weights, each with its own share of the features.
        mirrored: whether features are averaged over an image and its mirror image.
        largest_batch: images that fit the memory in one pass.
        frozen: of a probe, where its features come from.
        backbone: the network.
        head: the linear layer; one output for two classes, otherwise one per class.
    """

    def __init__(
        self, architecture: Architecture, *, classes: int, channels: int, frozen: FrozenFeatures | None = None
    ) -> None:
        super().__init__()
        parts = build_backbone(architecture, channels, frozen)
        self.architecture = architecture
        self.classes = classes
        self.channels = channels
        self.embedding_size = parts.embedding_size
        self.branches = parts.branches
        self.mirrored = parts.mirrored
        self.largest_batch = parts.largest_batch
        self.frozen = frozen
        self.backbone = parts.network
        self._grad_cam_layer = parts.grad_cam_layer
        self.head = nn.Linear(parts.embedding_size, 1 if classes == 2 else classes)

    @property
    def grad_cam_layer(self) -> nn.Module:
        """The layer whose activations Grad-CAM weighs, at least 4×4 positions at 28 pixels."""
        return self.backbone.get_submodule(self._grad_cam_layer)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features before the head.

        Args:
            images: normalised pixels, shape (images, channels, height, width).

        Returns:
            Embeddings, shape (images, embedding_size).
        """
        return self.backbone(images)

    def classify(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Compute the logits of embeddings.

        Args:
            embeddings: as `embed` returns them, shape (images, embedding_size).

        Returns:
            Logits: for two classes the log-odds of class 1, shape (images,); otherwise shape (images, classes).
        """
        logits = self.head(embeddings)
        return logits.squeeze(1) if self.classes == 2 else logits

    def branch_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the logits of each branch by itself; `forward` gives their mean.

        With one loss per branch the branches are an ensemble (Lakshminarayanan et al., 2017) that one pass computes;
        with a loss on their mean they would share the work.

        Args:
            images: normalised pixels, shape (images, channels, height, width); or, where there are several branches,
                (images, branches × channels, height, width), each branch its own view.

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
    frozen: FrozenFeatures | None = None,
) -> Classifier:
    """Build a network with random weights, or with a head of random weights on a pretrained one.

    Args:
        architecture: its name.
        classes: number of classes, at least two.
        channels: channels per image: 1 for grey, 3 for colour.
        seed: seed of the weights. They come from a generator of their own, so that neither another thread nor the
            state of the global one changes them, and the global one is left as it was.
        pretrained: file of weights for all but the head, as `load_backbone` reads it.
        frozen: of a probe only, where its features come from.

    Returns:
        The network, in training mode.

    Raises:
        InputError: the name is unknown, there are fewer than two classes or no channels, or the file does not fit.
    """
    if architecture not in tuple(ARCHITECTURES):  # a card of weights may hold anything, even what cannot be a key
        raise InputError(f"Unknown architecture {architecture!r}; choose one of: {', '.join(ARCHITECTURES)}.")
    if classes < 2 or channels < 1:
        raise InputError(
            f"A classifier of {classes} classes on images of {channels} channels was asked for; it needs at least two "
            "classes and one channel."
        )
    with torch.random.fork_rng(devices=[]):
        model = Classifier(architecture, classes=classes, channels=channels, frozen=frozen)
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
