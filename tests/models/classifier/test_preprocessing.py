import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from models.classifier.preprocessing import Normalization, to_tensor
from models.errors import InputError


def random_images(count=20, height=12, width=10, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)


def random_colours():
    """Three channels of different means and spreads."""
    return np.stack([random_images(seed=0), random_images(seed=1) // 2, 200 + random_images(seed=2) // 8], axis=-1)


def test_statistics_are_those_of_the_pixels():
    images = random_images()
    normalization = Normalization.from_images(images)
    assert normalization.mean == pytest.approx([(images / 255).mean()], abs=1e-12)
    assert normalization.std == pytest.approx([(images / 255).std()], abs=1e-12)


def test_each_channel_has_statistics_of_its_own():
    images = random_colours()
    normalization = Normalization.from_images(images)
    assert normalization.mean == pytest.approx((images / 255).mean((0, 1, 2)), abs=1e-12)
    assert normalization.std == pytest.approx((images / 255).std((0, 1, 2)), abs=1e-12)


def test_statistics_do_not_depend_on_the_order_of_the_images():
    images = random_colours()
    assert Normalization.from_images(images[::-1]) == Normalization.from_images(images)


def test_statistics_survive_json():
    normalization = Normalization.from_images(random_colours())
    assert Normalization(**json.loads(json.dumps(asdict(normalization)))) == normalization


def test_normalised_pixels_have_zero_mean_and_unit_variance_and_keep_their_place():
    images = random_images()
    tensor = to_tensor(images, Normalization.from_images(images))
    assert tensor.shape == (20, 1, 12, 10)
    assert tensor.dtype == torch.float32
    assert abs(float(tensor.mean())) < 1e-5
    assert float(tensor.std(correction=0)) == pytest.approx(1, abs=1e-5)
    normalization = Normalization([0.5], [0.25])
    assert float(to_tensor(images, normalization)[3, 0, 7, 2]) == pytest.approx((images[3, 7, 2] / 255 - 0.5) / 0.25)


def test_colours_go_to_channels_of_their_own():
    images = random_colours()
    tensor = to_tensor(images, Normalization([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    assert tensor.shape == (20, 3, 12, 10)
    for channel, (mean, std) in enumerate([(0.1, 0.4), (0.2, 0.5), (0.3, 0.6)]):
        np.testing.assert_allclose(tensor[:, channel], (images[..., channel] / 255 - mean) / std, atol=1e-5)


def test_any_leading_dimensions_are_normalised_alike():
    normalization = Normalization([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    pixels = torch.rand(2, 5, 3, 4, 4)
    assert torch.equal(normalization.apply(pixels)[1, 2], normalization.apply(pixels[1, 2]))


def test_a_read_only_array_is_accepted_and_not_shared():
    images = random_images(2)
    images.setflags(write=False)
    to_tensor(images, Normalization([0.0], [1.0])).fill_(7)
    np.testing.assert_array_equal(images, random_images(2))


def test_constant_images_are_refused():
    with pytest.raises(InputError, match="fewer than two levels"):
        Normalization.from_images(np.full((4, 8, 8), 9, np.uint8))
    images = random_colours()
    images[..., 1] = 9
    with pytest.raises(InputError, match="fewer than two levels"):
        Normalization.from_images(images)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 8, 8)), np.zeros((2, 1, 8, 8), np.uint8), np.zeros((2, 8, 8, 4), np.uint8)]
)
def test_other_types_and_shapes_are_refused(images):
    with pytest.raises(InputError, match="uint8"):
        to_tensor(images, Normalization([0.5], [0.2]))
    with pytest.raises(InputError, match="uint8"):
        Normalization.from_images(images)


@pytest.mark.parametrize(("images", "channels"), [(random_images(), 3), (random_colours(), 1)])
def test_images_of_other_channels_than_the_normalisation_are_refused(images, channels):
    with pytest.raises(InputError, match=rf"have {4 - channels} channels.* for {channels};"):
        to_tensor(images, Normalization([0.5] * channels, [0.2] * channels))


def test_a_mean_without_its_deviation_is_refused():
    with pytest.raises(InputError, match="3 means but 1 standard deviations"):
        Normalization([0.5, 0.5, 0.5], [0.2])
