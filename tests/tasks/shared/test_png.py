import io

import numpy as np
import pytest
from PIL import Image

from tasks.shared.png import encode_png, with_few_colors


@pytest.mark.parametrize("shape", [(28, 28), (5, 9, 3), (300, 300)])
def test_an_image_is_enlarged_by_whole_pixels(shape):
    image = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(encode_png(image, least_width=100))))
    factor = {28: 4, 9: 12, 300: 1}[shape[1]]
    assert shown.shape[:2] == (shape[0] * factor, shape[1] * factor)
    for row in range(factor):
        assert (shown[row::factor, row::factor] == image).all()


def test_an_image_keeps_its_size_by_default():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (np.asarray(Image.open(io.BytesIO(encode_png(image)))) == image).all()


def test_few_colours_make_a_picture_smaller_and_look_the_same():
    grey = np.random.default_rng(0).integers(0, 256, (200, 300, 1))
    image = (0.8 * grey + 0.2 * np.array([255, 90, 0])).astype(np.uint8)  # as under a heat map
    image[:50] = 255
    png = encode_png(image)
    small = with_few_colors(png)
    assert len(small) < 0.5 * len(png)
    shown = np.asarray(Image.open(io.BytesIO(small)).convert("RGB")).astype(int)
    assert np.abs(shown - image).mean() < 8
    assert (shown[:50] >= 252).all()


def test_no_colour_becomes_another_one():
    """A heat map over an image has thousands of colours; one dot of a wrong one would be read as heat."""
    heat, grey = np.meshgrid(np.linspace(0, 1, 400), np.linspace(0, 255, 300))
    colors = np.stack([np.clip(1.5 - np.abs(4 * heat - place), 0, 1) for place in (3, 2, 1)], axis=-1)
    image = (0.5 * 255 * colors + 0.5 * grey[..., None]).astype(np.uint8)
    image[:20] = 255
    shown = np.asarray(Image.open(io.BytesIO(with_few_colors(encode_png(image)))).convert("RGB")).astype(int)
    assert np.abs(shown - image).max() < 24
