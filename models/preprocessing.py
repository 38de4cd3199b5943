"""From stored pixels to what the networks read."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import InputError


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of the training pixels.

    Attributes:
        mean: mean of pixels / 255.
        std: standard deviation of pixels / 255, above 0.
    """

    mean: float
    std: float

    @classmethod
    def from_images(cls, images: NDArray[np.uint8]) -> "Normalization":
        """Measure the pixels of the training split.

        Args:
            images: shape (images, height, width), 0–255.

        Returns:
            The normalisation.

        Raises:
            InputError: there are no pixels, or all of them are the same.
        """
        # Exact integer sums over the 256 grey levels: no copy of the split as floats, and no rounding by order.
        counts = np.bincount(images.ravel(), minlength=256).astype(np.float64)
        levels = np.arange(256) / 255
        if np.count_nonzero(counts) < 2:
            raise InputError(
                "The training images hold fewer than two grey levels, so they cannot be normalised; "
                "check the file that they come from."
            )
        mean = float(counts @ levels / counts.sum())
        return cls(mean, float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum())))

    def apply(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise pixels in [0, 1].

        Args:
            pixels: any shape, pixels / 255.

        Returns:
            The same shape, zero mean and unit variance over the training split.
        """
        return (pixels - self.mean) / self.std


def to_tensor(images: NDArray[np.uint8], normalization: Normalization) -> torch.Tensor:
    """Turn stored images into what a network reads.

    Args:
        images: shape (images, height, width), 0–255.
        normalization: statistics of the training pixels.

    Returns:
        Normalised pixels, float32, shape (images, 1, height, width).

    Raises:
        InputError: the images are not uint8 of three dimensions.
    """
    if images.dtype != np.uint8 or images.ndim != 3:
        raise InputError(
            f"Images are {images.dtype} of shape {images.shape}, but uint8 of shape (images, height, width) is "
            "expected; convert them first."
        )
    # np.array copies, since PyTorch must not share memory with an array that may be read-only.
    return normalization.apply(torch.from_numpy(np.array(images)).unsqueeze(1).float() / 255)
