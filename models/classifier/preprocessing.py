"""From stored pixels to the input of the networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import InputError


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of the training pixels, one of each per channel.

    Attributes:
        mean: means of pixels / 255.
        std: standard deviations of pixels / 255, above 0.
    """

    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        # A card of weights is JSON, which has lists only.
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))
        if len(self.mean) != len(self.std):
            raise InputError(
                f"The normalisation has {len(self.mean)} means but {len(self.std)} standard deviations; supply one of "
                "each per channel."
            )

    @classmethod
    def from_images(cls, images: NDArray[np.uint8]) -> "Normalization":
        """Measure the pixels of the training split.

        Args:
            images: shape (images, height, width) or (images, height, width, 3), 0–255.

        Returns:
            The normalisation.

        Raises:
            InputError: the images are of another type or shape, or all pixels of a channel are the same.
        """
        planes = _planes(images)
        moments = [_moments(planes[:, channel]) for channel in range(planes.shape[1])]
        means, stds = zip(*moments, strict=True)
        return cls(means, stds)

    def apply(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise pixels in [0, 1].

        Args:
            pixels: pixels / 255, shape (…, channels, height, width).

        Returns:
            The same shape, zero mean and unit variance over the training split in each channel.

        Raises:
            InputError: the pixels have another number of channels.
        """
        if pixels.shape[-3] != len(self.mean):
            raise InputError(
                f"The images have {pixels.shape[-3]} channels, but the normalisation is for {len(self.mean)}; supply "
                "images like those of the training."
            )
        # Numbers instead of a tensor of statistics: a GPU would have to wait for its copy.
        planes = zip(pixels.unbind(-3), self.mean, self.std, strict=True)
        return torch.stack([(plane - mean) / std for plane, mean, std in planes], dim=-3)

    def undo(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn normalised pixels into stored ones.

        Args:
            pixels: as `apply` gave them, shape (…, channels, height, width).

        Returns:
            The same shape, uint8, 0–255: the same levels that were normalised.
        """
        planes = zip(pixels.unbind(-3), self.mean, self.std, strict=True)
        levels = torch.stack([(plane * std + mean) * 255 for plane, mean, std in planes], dim=-3)
        return levels.round().clamp(0, 255).to(torch.uint8)


def to_tensor(images: NDArray[np.uint8], normalization: Normalization) -> torch.Tensor:
    """Turn stored images into the input of a network.

    Args:
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        normalization: statistics of the training pixels.

    Returns:
        Normalised pixels, float32, shape (images, channels, height, width).

    Raises:
        InputError: the images are not uint8 of such a shape, or have other channels than the normalisation.
    """
    # np.array copies, since PyTorch must not share memory with an array that may be read-only.
    return normalization.apply(torch.from_numpy(np.array(_planes(images))).float() / 255)


def _planes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring images to the shape (images, channels, height, width)."""
    if images.dtype == np.uint8 and images.ndim == 3:
        return images[:, None]
    if images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] == 3:
        return images.transpose(0, 3, 1, 2)
    raise InputError(
        f"Images are {images.dtype} of shape {images.shape}, but uint8 of shape (images, height, width) or (images, "
        "height, width, 3) is expected; convert them first."
    )


def _moments(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of pixels / 255."""
    # Exact integer sums over the 256 levels: no copy of the split as floats, and no rounding by order.
    counts = np.bincount(pixels.ravel(), minlength=256).astype(np.float64)
    levels = np.arange(256) / 255
    if np.count_nonzero(counts) < 2:
        raise InputError(
            "The training images hold fewer than two levels in a channel, so they cannot be normalised; check the "
            "file that they come from."
        )
    mean = float(counts @ levels / counts.sum())
    return mean, float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))
