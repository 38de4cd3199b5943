"""Random augmentation of training images, a whole batch at a time.

Geometry imitates how a patient stands before the detector (rotation, shift, distance); photometry imitates exposure
and post-processing, which differ between the splits of PneumoniaMNIST more than anatomy does.
"""

from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch.nn import functional as F

from models.choices import AugmentationName


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random augmentation; every value is drawn uniformly and independently per image.

    Attributes:
        rotation: largest angle, degrees, either way.
        shift: largest translation along each axis, as a fraction of the image's side.
        scale: largest relative change of size, 0.1 for 90–110 %.
        gamma: largest absolute logarithm of the exponent, 0.3 for pixels ** [0.74, 1.35].
        contrast: largest relative change of the spread about the image's mean.
        brightness: largest amount added to pixels in [0, 1], either way.
    """

    rotation: float = 10.0
    shift: float = 0.08
    scale: float = 0.1
    gamma: float = 0.3
    contrast: float = 0.25
    brightness: float = 0.1

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augment a batch.

        Args:
            images: pixels in [0, 1], shape (images, channels, height, width), on any device.
            generator: CPU source of the randomness, so that every device draws the same values.

        Returns:
            Augmented pixels in [0, 1], the same shape and device.
        """
        if not any(astuple(self)):
            return images
        # One row per parameter, uniform in [-1, 1).
        draws = (torch.rand(7, len(images), generator=generator) * 2 - 1).to(images.device)
        return self._photometric(self._affine(images, *draws[:4]), *draws[4:].reshape(3, -1, 1, 1, 1))

    def _affine(
        self, images: torch.Tensor, angle: torch.Tensor, right: torch.Tensor, down: torch.Tensor, size: torch.Tensor
    ) -> torch.Tensor:
        radians = torch.deg2rad(angle * self.rotation)
        zoom = 1 / (1 + size * self.scale)
        height, width = images.shape[-2:]
        cos, sin = radians.cos() * zoom, radians.sin() * zoom
        # affine_grid maps output to input positions, each axis running over [-1, 1]; the aspect ratio keeps the
        # rotation rigid on images that are not square.
        rows = torch.stack(
            [
                torch.stack([cos, sin * height / width, right * 2 * self.shift], dim=1),
                torch.stack([-sin * width / height, cos, down * 2 * self.shift], dim=1),
            ],
            dim=1,
        )
        grid = F.affine_grid(rows, list(images.shape), align_corners=False)
        # Border padding: black corners would tell the network how far an image was turned.
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _photometric(
        self, images: torch.Tensor, gamma: torch.Tensor, contrast: torch.Tensor, brightness: torch.Tensor
    ) -> torch.Tensor:
        # Interpolation may leave [0, 1] by a rounding error, and a negative base has no real power.
        images = images.clamp(0, 1) ** torch.exp(gamma * self.gamma)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = (images - mean) * (1 + contrast * self.contrast) + mean + brightness * self.brightness
        return images.clamp(0, 1)


STRENGTHS: dict[AugmentationName, Augmentation] = {
    "none": Augmentation(rotation=0, shift=0, scale=0, gamma=0, contrast=0, brightness=0),
    "light": Augmentation(rotation=5, shift=0.04, scale=0.05, gamma=0.15, contrast=0.125, brightness=0.05),
    "standard": Augmentation(),
    "strong": Augmentation(gamma=0.6, contrast=0.4, brightness=0.2),
}
"""Augmentations by name; they differ in photometry above all, since that is what differs between splits."""


def mixup(
    images: torch.Tensor, targets: torch.Tensor, alpha: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix every image of a batch, and its target, with the next one of the batch (mixup; Zhang et al., 2018).

    Args:
        images: a shuffled batch, shape (images, channels, height, width).
        targets: probabilities, shape (images,) or (images, classes).
        alpha: both parameters of the Beta distribution of the mixing weight, above 0: at 1 the weight is uniform in
            [0, 1], towards 0 it is near 0 or 1.
        generator: CPU source of the mixing weight, one for the whole batch.

    Returns:
        Mixed images and targets, of the same shapes.
    """
    # PyTorch's Beta distribution draws from the global generator only.
    seed = int(torch.randint(2**62, (), generator=generator))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    return images.lerp(images.roll(1, 0), share), targets.lerp(targets.roll(1, 0), share)
