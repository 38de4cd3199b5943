"""The features of a published encoder, which is not trained and of which no weight is kept with the classifier."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from models.classifier.networks.backbone import Backbone
from models.classifier.preprocessing import Normalization
from models.encoders.checkpoint import Source

LARGEST_BATCH = 16
"""A vision transformer at 518 pixels has 1,370 tokens an image, each with thousands of activations a layer."""


@dataclass(frozen=True)
class FrozenFeatures:
    """Where the features of a probe come from.

    Attributes:
        source: the encoder's checkpoint.
        dimension: length of its embedding.
        normalization: of the pixels that the probe is given, which the encoder's own preprocessing undoes.
    """

    source: Source
    dimension: int
    normalization: Normalization


def probe(channels: int, frozen: FrozenFeatures) -> Backbone:
    """Put an encoder in the place of a network.

    Features are the encoder's own embeddings: of the pixels as they are stored, with its own preprocessing, without a
    mirror image.

    Args:
        channels: channels per image.
        frozen: the encoder.

    Returns:
        The network, as many features per image as the embedding has numbers. Grad-CAM reads the map of its patches in
        the last layer that looks from one to the other.
    """
    network = nn.Sequential(OrderedDict(encoder=_FrozenEncoder(frozen)))
    return Backbone(
        network,
        embedding_size=frozen.dimension,
        grad_cam_layer="encoder.grid",
        mirrored=False,
        largest_batch=LARGEST_BATCH,
    )


class _FrozenEncoder(nn.Module):
    """From normalised pixels to embeddings. The encoder is read when it is first needed, and shared in the process."""

    def __init__(self, frozen: FrozenFeatures) -> None:
        super().__init__()
        self.frozen = frozen
        self.grid = _PatchGrid()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        from models.encoders.loading import load_published

        device = "cuda" if torch.cuda.is_available() else "cpu"
        encoder = load_published(self.frozen.source, device)
        levels = self.frozen.normalization.undo(pixels.detach()).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        images = levels[..., 0] if levels.shape[-1] == 1 else levels
        return encoder.features(images, self.grid).to(pixels.device)


class _PatchGrid(nn.Module):
    """A map of patches, shape (images, channels, rows, columns), where the graph of gradients begins, in float32."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.detach().float().requires_grad_(torch.is_grad_enabled())
