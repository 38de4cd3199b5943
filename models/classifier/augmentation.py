"""Random augmentation of training images, a whole batch at a time.

Geometry imitates how a patient stands before the detector (rotation, shift, distance) and how the image was cut;
photometry imitates exposure and post-processing, which differ between the splits of PneumoniaMNIST more than anatomy
does.
"""

import itertools
import math
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
        crop_area: smallest and largest area that is cut out and enlarged to the whole (Szegedy et al., 2015), as a
            fraction of the image's; beyond 1 its border is repeated. None cuts nothing.
        crop_aspect: largest relative change of the crop's width to its height, 0.2 for ratios from 1/1.2 to 1.2,
            uniform in the logarithm.
    """

    rotation: float = 10.0
    shift: float = 0.08
    scale: float = 0.1
    gamma: float = 0.3
    contrast: float = 0.25
    brightness: float = 0.1
    crop_area: tuple[float, float] | None = None
    crop_aspect: float = 0.0

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
        crops = None if self.crop_area is None else self._crops(self.crop_area, len(images), generator)
        return self._photometric(self._affine(images, crops, *draws[:4]), *draws[4:].reshape(3, -1, 1, 1, 1))

    def _crops(self, area: tuple[float, float], count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw maps from the whole image's positions to those of a crop, shape (count, 3, 3), on the CPU."""
        sizes, ratios, right, down = torch.rand(4, count, generator=generator)
        sizes = (area[0] + sizes * (area[1] - area[0])).sqrt()
        stretch = torch.exp((ratios * 2 - 1) * math.log1p(self.crop_aspect) / 2)
        crops = torch.eye(3).repeat(count, 1, 1)
        for axis, (side, place) in enumerate([(sizes * stretch, right), (sizes / stretch, down)]):
            crops[:, axis, axis] = side
            # Anywhere inside the image; of a crop that is larger, the image is anywhere inside it.
            crops[:, axis, 2] = (1 - side) * (place * 2 - 1)
        return crops

    def _affine(
        self,
        images: torch.Tensor,
        crops: torch.Tensor | None,
        angle: torch.Tensor,
        right: torch.Tensor,
        down: torch.Tensor,
        size: torch.Tensor,
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
        if crops is not None:  # the crop is cut from the turned and shifted image
            rows = rows @ crops.to(rows.device)
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
    "crops": Augmentation(scale=0, crop_area=(0.5, 1.1), crop_aspect=0.2),
}
"""Augmentations by name; they differ in photometry above all, since that is what differs between splits."""

MIXTURES: dict[AugmentationName, tuple[AugmentationName, ...]] = {"diverse": ("standard", "crops")}
"""Augmentations that the networks of an ensemble take in turn; a network alone takes the first."""


def views(images: torch.Tensor, name: AugmentationName, branches: int, generator: torch.Generator) -> torch.Tensor:
    """Augment a batch for the networks of an ensemble.

    With an augmentation of its own for each, an ensemble is better and better calibrated where images differ from those
    of the training (Stickland and Murray, Diverse Ensembles Improve Calibration, 2020).

    Args:
        images: pixels in [0, 1], shape (images, channels, height, width), on any device.
        name: a name in `STRENGTHS`, for one view that all networks share; or in `MIXTURES`, for one of each network.
        branches: number of networks.
        generator: CPU source of the randomness.

    Returns:
        Augmented pixels, shape (images, channels, height, width); of a mixture (images, branches × channels, height,
        width), the channels of the first network's view first.
    """
    if name not in MIXTURES:
        return STRENGTHS[name](images, generator)
    kinds = itertools.islice(itertools.cycle(MIXTURES[name]), branches)
    return torch.cat([STRENGTHS[kind](images, generator) for kind in kinds], dim=1)


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
