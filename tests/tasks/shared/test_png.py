import io

import numpy as np
import pytest
from PIL import Image

from tasks.shared.png import encode_png


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
