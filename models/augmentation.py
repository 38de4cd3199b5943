"""Random variation of training images, a whole batch at a time.

Geometry imitates how a patient stands before the detector (rotation, shift, distance); photometry imitates exposure
and post-processing, which differ between the splits of PneumoniaMNIST more than anatomy does.
"""

from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

Strength = Literal["none", "light", "standard", "strong"]


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the random variation; every value is drawn uniformly and independently for each image.

    Attributes:
        rotation: largest angle, degrees, either way.
        shift: largest translation along each axis, as a fraction of the image's side.
        scale: largest relative change of size, 0.1 for 90–110 %.
        gamma: largest absolute logarithm of the exponent, 0.3 for pixels ** [0.74, 1.35].
        contrast: largest relative change of the spread about the image's mean.
        brightness: largest amount added to pixels in [0, 1], either way.
        sharpness: largest weight, either way, of what a Gaussian blur takes away: 1 for anything between the blurred
            image and one as much sharper.
        noise: largest standard deviation of Gaussian noise, for pixels in [0, 1].
        cutout: largest side of a square that is painted over with the image's mean, as a fraction of the image's
            side; half of the images have none (DeVries and Taylor, 2017).
        mirror: swap left and right in half of the images. Not for the chest: the heart is on the left.
    """

    rotation: float = 10.0
    shift: float = 0.08
    scale: float = 0.1
    gamma: float = 0.3
    contrast: float = 0.25
    brightness: float = 0.1
    sharpness: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    mirror: bool = False

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Vary a batch.

        Args:
            images: pixels in [0, 1], shape (images, channels, height, width), on any device.
            generator: CPU source of the randomness, so that every device draws the same values.

        Returns:
            Varied pixels in [0, 1], the same shape and device.
        """
        if not any(astuple(self)):
            return images
        # One row a strength, uniform in [-1, 1).
        draws = _draw(7, images, generator)
        images = self._photometric(self._affine(images, *draws[:4, :, 0, 0, 0]), *draws[4:])
        if self.mirror:
            images = torch.where(_draw(1, images, generator)[0] < 0, images.flip(-1), images)
        if self.sharpness:
            images = images + _draw(1, images, generator)[0] * self.sharpness * (images - _blurred(images))
        if self.noise:
            spread = _draw(1, images, generator)[0] * self.noise
            images = images + spread * torch.randn(images.shape, generator=generator).to(images.device)
        if self.cutout:
            images = self._cut_out(images, *_draw(3, images, generator))
        return images.clamp(0, 1)

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

    def _cut_out(
        self, images: torch.Tensor, side: torch.Tensor, row: torch.Tensor, column: torch.Tensor
    ) -> torch.Tensor:
        height, width = images.shape[-2:]
        rows = torch.linspace(-1, 1, height, device=images.device).reshape(-1, 1)
        columns = torch.linspace(-1, 1, width, device=images.device)
        reach = side * self.cutout  # half a side, as the axes run over [-1, 1]; a negative one cuts nothing
        inside = ((rows - row).abs() < reach) & ((columns - column).abs() < reach)
        return torch.where(inside, images.mean(dim=(2, 3), keepdim=True), images)


STRENGTHS: dict[Strength, Augmentation] = {
    "none": Augmentation(rotation=0, shift=0, scale=0, gamma=0, contrast=0, brightness=0),
    "light": Augmentation(rotation=5, shift=0.04, scale=0.05, gamma=0.15, contrast=0.125, brightness=0.05),
    "standard": Augmentation(),
    "strong": Augmentation(gamma=0.6, contrast=0.4, brightness=0.2, sharpness=1, noise=0.05, cutout=0.4),
}
"""Named strengths; they differ in photometry above all, since that is what differs between splits."""


def mixup(
    images: torch.Tensor, targets: torch.Tensor, alpha: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend every image of a batch, and its target, with its neighbour in the batch (Zhang et al., 2018).

    Args:
        images: a shuffled batch, shape (images, channels, height, width).
        targets: probabilities, shape (images,) or (images, classes).
        alpha: both parameters of the Beta distribution that the share of the neighbour comes from, above 0: at 1 it is
            uniform, towards 0 it is near 0 or 1.
        generator: CPU source of the share, the same for the whole batch.

    Returns:
        Images and targets, blended, of the same shapes.
    """
    # PyTorch's Beta distribution draws from the global generator only.
    seed = int(torch.randint(2**62, (), generator=generator))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    return images.lerp(images.roll(1, 0), share), targets.lerp(targets.roll(1, 0), share)


def _draw(rows: int, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw values in [-1, 1), shape (rows, images, 1, 1, 1)."""
    draws = torch.rand(rows, len(images), generator=generator) * 2 - 1
    return draws.to(images.device).reshape(rows, -1, 1, 1, 1)


def _blurred(images: torch.Tensor) -> torch.Tensor:
    """Blur with the 3×3 binomial kernel, the usual small Gaussian, which is a 2×2 mean twice."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, kernel_size=2, stride=1), kernel_size=2, stride=1)
