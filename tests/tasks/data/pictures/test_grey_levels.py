import numpy as np
import pytest

from models.bounds import PICTURE_PIXELS
from tasks.data.pictures.grey_levels import luma, refuse_size, scale, to_grey_levels


def test_eight_bits_stay_as_they_are_in_any_type():
    values = np.arange(256).reshape(16, 16)
    for dtype in (np.uint8, np.uint16, np.int32, np.float64):
        assert np.array_equal(to_grey_levels(values.astype(dtype)), values)


@pytest.mark.parametrize(("bits", "largest"), [(10, 1023), (12, 4095), (14, 9000), (16, 65535)])
def test_white_is_the_largest_value_of_the_fewest_usual_bits(bits, largest):
    values = np.array([[0, largest // 3, largest]], dtype=np.uint16)
    expected = [[round(255 * value / (2**bits - 1)) for value in values[0].tolist()]]
    assert to_grey_levels(values).tolist() == expected


@pytest.mark.parametrize(
    "values", [[-1000, 0, 1000], [0.0, 0.5, 1.0], [0, 2**19, 2**20]], ids=["signed", "fractions", "20 bits"]
)
def test_others_are_stretched_from_the_smallest_to_the_largest(values):
    assert to_grey_levels(np.array([values])).tolist() == [[0, 128, 255]]


def test_one_even_value_does_not_divide_by_zero():
    assert to_grey_levels(np.full((2, 2), -7)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        to_grey_levels(np.array([[0.0, bad, 1.0]]))


def test_what_lies_beyond_black_and_white_is_cut():
    assert scale(np.array([-5, 10, 60, 110, 500]), 10, 110).tolist() == [0, 0, 128, 255, 255]
    assert scale(np.array([0, 100]), 100, 0).tolist() == [255, 0]


def test_luma_weighs_green_most():
    colors = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], dtype=np.uint8)
    expected = [[0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue in colors[0].tolist()]]
    assert np.abs(luma(colors) - np.array(expected)).max() <= 0.51


def test_size():
    refuse_size(8000, 8000)
    with pytest.raises(ValueError, match=f"8000 × 8001 pixels, and at most {PICTURE_PIXELS // 10**6} million"):
        refuse_size(8000, 8001)
    with pytest.raises(ValueError, match="0 × 5 pixels"):
        refuse_size(0, 5)
