import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from skimage.util import random_noise
from torchvision.transforms import functional

from models.classifier import corruptions
from models.classifier.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from models.errors import InputError


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    smooth = np.add.outer(np.linspace(20, 200, 28), np.linspace(0, 50, 28))
    return (smooth + random.normal(0, 8, (3, 28, 28))).clip(0, 255).astype(np.uint8)


def published(picture, kind, parameter, random):
    """What the authors' package does to one colour picture."""
    pixels = np.array(picture) / 255.0
    if kind == "pixelate":
        width, height = picture.size
        small = picture.resize((int(width * parameter), int(height * parameter)), Image.BOX)
        return np.array(small.resize((width, height), Image.BOX))
    if kind == "jpeg_compression":
        output = io.BytesIO()
        picture.save(output, "JPEG", quality=parameter)
        return np.array(Image.open(output))
    if kind == "gaussian_blur":
        return np.array(functional.gaussian_blur(picture, kernel_size=parameter))
    if kind.startswith("brightness"):
        return np.array(ImageEnhance.Brightness(picture).enhance(parameter))
    if kind.startswith("contrast"):
        return np.array(ImageEnhance.Contrast(picture).enhance(parameter))
    if kind.startswith("gamma"):
        return np.array(functional.adjust_gamma(picture, parameter, gain=1))
    if kind == "gaussian_noise":
        pixels = pixels + random.normal(size=pixels.shape, scale=parameter)
    if kind == "speckle_noise":
        pixels = pixels + pixels * random.normal(size=pixels.shape, scale=parameter)
    if kind == "impulse_noise":
        pixels = random_noise(pixels, mode="s&p", amount=parameter, rng=random)
    if kind == "shot_noise":
        pixels = random.poisson(pixels * parameter) / parameter
    return (np.clip(pixels, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_it_is_what_the_authors_do_image_by_image_in_colour(images, kind):
    for severity, parameter in zip(SEVERITIES, CORRUPTIONS[kind].parameters, strict=True):
        random = np.random.default_rng((7, list(CORRUPTIONS).index(kind), severity))
        pictures = [Image.fromarray(image).convert("RGB") for image in images]
        changed = [published(picture, kind, parameter, random) for picture in pictures]
        expected = np.stack([np.array(Image.fromarray(colour).convert("L")) for colour in changed])
        found = corrupt(images, kind, severity, seed=7)
        assert found.dtype == np.uint8
        assert (found == expected).all()


def test_a_higher_severity_changes_the_pixels_more(images):
    for kind in CORRUPTIONS:
        changes = [
            np.abs(corrupt(images, kind, s).astype(int) - images).mean() for s in (SEVERITIES[0], SEVERITIES[-1])
        ]
        assert 0 < changes[0] < changes[1], kind


def test_it_repeats_whatever_the_blocks_and_only_noise_hangs_on_the_seed(images, monkeypatch):
    first = {kind: corrupt(images, kind, 3) for kind in CORRUPTIONS}
    monkeypatch.setattr(corruptions, "_BLOCK", 2)
    for kind, expected in first.items():
        assert (corrupt(images, kind, 3) == expected).all()
    moved = {kind for kind, expected in first.items() if (corrupt(images, kind, 3, seed=1) != expected).any()}
    assert moved == {"gaussian_noise", "speckle_noise", "impulse_noise", "shot_noise"}


def test_the_images_themselves_stay_as_they_are_and_none_is_no_error(images):
    images.flags.writeable = False
    for kind in CORRUPTIONS:
        corrupt(images, kind, 5)
        assert corrupt(images[:0], kind, 5).shape == (0, 28, 28)


@pytest.mark.parametrize("shape", [(2, 28, 28, 3), (28, 28), (2, 7, 28)])
def test_other_images_are_refused(shape):
    with pytest.raises(InputError, match="the corruptions are for grey ones"):
        corrupt(np.zeros(shape, np.uint8), "pixelate", 1)
