"""Corruptions of MedMNIST-C for PneumoniaMNIST: 13 kinds at five severities (Di Salvo et al., 2024, arXiv 2406.17536).

Kinds and parameters are those that the authors publish (the package `medmnistc`, Apache 2.0, whose pins and need of
ImageMagick keep it out of this environment). As there, each image is corrupted as a colour image of three equal
channels and made grey again, which weakens noise, since each channel has its own. They are made for 224 pixels: smaller
images, which are corrupted at the size that they have, lose more by blur, pixels and compression.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torchvision.transforms import functional

from models.errors import InputError

Images = NDArray[np.uint8]
SEVERITIES = (1, 2, 3, 4, 5)
_BLOCK = 256  # images at once, which bounds the memory


class Corruption(NamedTuple):
    """A kind of corruption.

    Attributes:
        family: the group that it is shown with: digital, noise, blur or exposure.
        apply: from grey images, shape (images, height, width), 0–255, to corrupted ones, given the parameter of the
            severity and a source of random numbers.
        parameters: one per severity, from 1 on.
    """

    family: str
    apply: Callable[[Images, float, np.random.Generator], Images]
    parameters: tuple[float, float, float, float, float]


def corrupt(images: Images, kind: str, severity: int, *, seed: int = 0) -> Images:
    """Corrupt images.

    Args:
        images: grey, shape (images, height, width), 0–255.
        kind: a name in `CORRUPTIONS`.
        severity: 1 to 5.
        seed: of the noise, which is another one for each kind and severity.

    Returns:
        As many images of the same shape; the same for the same arguments.

    Raises:
        InputError: the images are not grey ones of at least 8×8 pixels, as the widest blur needs.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or min(images.shape[1:]) < 8:
        raise InputError(
            f"Images are {images.dtype} of shape {images.shape}, but the corruptions are for grey ones: expected uint8 "
            "of shape (images, height, width), 8×8 pixels or more."
        )
    corruption = CORRUPTIONS[kind]
    random = np.random.default_rng((seed, list(CORRUPTIONS).index(kind), severity))
    corrupted = np.empty_like(images)
    for start in range(0, len(images), _BLOCK):
        block = slice(start, start + _BLOCK)
        corrupted[block] = corruption.apply(images[block], corruption.parameters[severity - 1], random)
    return corrupted


def _pixelate(images: Images, factor: float, random: np.random.Generator) -> Images:
    height, width = images.shape[1:]
    small = int(width * factor), int(height * factor)
    box = Image.Resampling.BOX
    return _each(images, lambda image: image.resize(small, box).resize((width, height), box))


def _jpeg_compression(images: Images, quality: float, random: np.random.Generator) -> Images:
    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(quality))
        return Image.open(file)

    return _each(images, compressed)


def _gaussian_noise(images: Images, scale: float, random: np.random.Generator) -> Images:
    pixels = _channels(images)
    return _grey(pixels + random.normal(scale=scale, size=pixels.shape))


def _speckle_noise(images: Images, scale: float, random: np.random.Generator) -> Images:
    pixels = _channels(images)
    return _grey(pixels + pixels * random.normal(scale=scale, size=pixels.shape))


def _impulse_noise(images: Images, amount: float, random: np.random.Generator) -> Images:
    from skimage.util import random_noise

    # One by one, so that an image's noise does not depend on how many there are in a block.
    noisy = [random_noise(image, mode="s&p", amount=amount, rng=random) for image in _channels(images)]
    return _grey(np.stack(noisy))


def _shot_noise(images: Images, photons: float, random: np.random.Generator) -> Images:
    return _grey(random.poisson(_channels(images) * photons) / photons)


def _gaussian_blur(images: Images, kernel: float, random: np.random.Generator) -> Images:
    blurred = functional.gaussian_blur(torch.from_numpy(images.copy())[:, None], kernel_size=[int(kernel)] * 2)
    return blurred[:, 0].numpy()


def _brightness(images: Images, factor: float, random: np.random.Generator) -> Images:
    return _of_level(images, lambda levels: ImageEnhance.Brightness(levels).enhance(factor))


def _contrast(images: Images, factor: float, random: np.random.Generator) -> Images:
    return _each(images, lambda image: ImageEnhance.Contrast(image).enhance(factor))


def _gamma(images: Images, gamma: float, random: np.random.Generator) -> Images:
    return _of_level(images, lambda levels: functional.adjust_gamma(levels, gamma))


def _each(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _of_level(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    """Change every pixel by its level alone: all levels are changed once, as an image, and looked up."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return np.asarray(change(Image.fromarray(levels))).ravel()[images]


def _channels(images: Images) -> NDArray[np.float64]:
    """Give grey images three equal channels, in [0, 1]."""
    return np.repeat(images[..., None] / 255, 3, axis=-1)


def _grey(pixels: NDArray[np.float64]) -> Images:
    """Make colour images of the shape (…, 3) grey, as Pillow does: by the luma of ITU-R 601, in whole numbers."""
    levels = (np.clip(pixels, 0, 1) * 255).astype(np.uint8).astype(np.uint32)
    return ((levels @ np.array([19595, 38470, 7471], np.uint32) + 0x8000) >> 16).astype(np.uint8)


CORRUPTIONS = {
    "pixelate": Corruption("digital", _pixelate, (0.8, 0.7, 0.6, 0.5, 0.4)),
    "jpeg_compression": Corruption("digital", _jpeg_compression, (50, 30, 15, 10, 7)),
    "gaussian_noise": Corruption("noise", _gaussian_noise, (0.04, 0.05, 0.06, 0.07, 0.08)),
    "speckle_noise": Corruption("noise", _speckle_noise, (0.05, 0.07, 0.10, 0.15, 0.20)),
    "impulse_noise": Corruption("noise", _impulse_noise, (0.005, 0.01, 0.013, 0.017, 0.02)),
    "shot_noise": Corruption("noise", _shot_noise, (300, 200, 150, 100, 80)),
    "gaussian_blur": Corruption("blur", _gaussian_blur, (3, 5, 7, 9, 11)),
    "brightness_up": Corruption("exposure", _brightness, (1.1, 1.2, 1.3, 1.4, 1.5)),
    "brightness_down": Corruption("exposure", _brightness, (0.9, 0.8, 0.7, 0.6, 0.5)),
    "contrast_up": Corruption("exposure", _contrast, (1.1, 1.2, 1.3, 1.4, 1.6)),
    "contrast_down": Corruption("exposure", _contrast, (0.9, 0.8, 0.7, 0.6, 0.4)),
    "gamma_corr_up": Corruption("exposure", _gamma, (1.1, 1.2, 1.3, 1.4, 1.6)),
    "gamma_corr_down": Corruption("exposure", _gamma, (0.9, 0.8, 0.7, 0.6, 0.4)),
}
"""All kinds, in the order of the paper's table."""
