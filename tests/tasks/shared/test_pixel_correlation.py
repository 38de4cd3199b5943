import numpy as np
import pytest

from models.errors import InputError
from tasks.shared import pixel_correlation
from tasks.shared.pixel_correlation import correlated_pairs


def noise(count, shape=(8, 8)):
    return np.random.default_rng(0).integers(0, 200, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(8, 8), (6, 5, 3)])
@pytest.mark.parametrize("block", [1, 7, 30, 1024])
@pytest.mark.parametrize("least", [0.2, 0.95])
def test_pairs_are_those_of_numpy(shape, block, least, monkeypatch):
    monkeypatch.setattr(pixel_correlation, "_BLOCK", block)
    images = noise(30, shape)
    images[4] = images[17]
    images[25] = images[3] // 2 + 20
    reference = np.corrcoef(images.reshape(30, -1))
    expected = [(i, j) for i in range(30) for j in range(i + 1, 30) if reference[i, j] >= least]
    assert {(3, 25), (4, 17)} <= set(expected)
    assert (len(expected) > 2) == (least == 0.2)
    found = correlated_pairs(images, least)
    assert [(first, second) for first, second, _ in found] == expected
    assert [value for *_, value in found] == pytest.approx([reference[pair] for pair in expected], abs=1e-9)


def test_brightness_and_contrast_do_not_count():
    images = noise(4) // 4
    images[1], images[3] = images[0] * 3 + 7, 200 - images[2]  # a negative is no duplicate
    assert correlated_pairs(images) == [(0, 1, 1.0)]


def test_one_channel_of_three_is_not_enough():
    images = noise(2, (8, 8, 3))
    images[0, ..., 0] = images[1, ..., 0]
    assert correlated_pairs(images) == []


def test_images_of_one_colour_are_like_none():
    images = noise(5)
    images[:4] = np.array([0, 0, 90, 255])[:, None, None]
    assert correlated_pairs(images, 0.01) == []


def test_too_many_images_are_refused(monkeypatch):
    monkeypatch.setattr(pixel_correlation, "MOST_IMAGES", 10)
    assert correlated_pairs(noise(10)) == []
    with pytest.raises(InputError, match=r"among 11 images .* at most 10 images"):
        correlated_pairs(noise(11))
