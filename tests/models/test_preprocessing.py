import numpy as np
import pytest
import torch

from models.errors import InputError
from models.preprocessing import Normalization, to_tensor


def random_images(count=20, height=12, width=10, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)


def test_statistics_are_those_of_the_pixels():
    images = random_images()
    normalization = Normalization.from_images(images)
    assert normalization.mean == pytest.approx((images / 255).mean(), abs=1e-12)
    assert normalization.std == pytest.approx((images / 255).std(), abs=1e-12)


def test_normalised_pixels_have_zero_mean_and_unit_variance_and_keep_their_place():
    images = random_images()
    tensor = to_tensor(images, Normalization.from_images(images))
    assert tensor.shape == (20, 1, 12, 10)
    assert tensor.dtype == torch.float32
    assert abs(float(tensor.mean())) < 1e-5
    assert float(tensor.std(correction=0)) == pytest.approx(1, abs=1e-5)
    normalization = Normalization(0.5, 0.25)
    assert float(to_tensor(images, normalization)[3, 0, 7, 2]) == pytest.approx((images[3, 7, 2] / 255 - 0.5) / 0.25)


def test_a_read_only_array_is_accepted_and_not_shared():
    images = random_images(2)
    images.setflags(write=False)
    to_tensor(images, Normalization(0.0, 1.0)).fill_(7)
    np.testing.assert_array_equal(images, random_images(2))


def test_constant_images_are_refused():
    with pytest.raises(InputError, match="fewer than two grey levels"):
        Normalization.from_images(np.full((4, 8, 8), 9, np.uint8))


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8)), np.zeros((2, 1, 8, 8), np.uint8)])
def test_other_types_and_shapes_are_refused(images):
    with pytest.raises(InputError, match="uint8"):
        to_tensor(images, Normalization(0.5, 0.2))
