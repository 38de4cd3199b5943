import numpy as np
import pytest

from models.report_generation.regions import FOCUS, NO_FOCUS, describe_region

WORDS = [
    ["upper left", "upper middle", "upper right"],
    ["middle left", "centre", "middle right"],
    ["lower left", "lower middle", "lower right"],
]


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("column", range(3))
@pytest.mark.parametrize("side", [3, 27, 28, 224])
def test_a_spot_is_found_in_its_zone(row: int, column: int, side: int):
    heat = np.zeros((side, side), np.float32)
    heat[int((row + 0.5) * side / 3), int((column + 0.5) * side / 3)] = 0.7
    region = describe_region(heat)
    assert region.words == f"{WORDS[row][column]} of the image"
    assert region.share == pytest.approx(1)


def test_shares_match_a_map_with_finer_pixels():
    """Zone borders cut pixels at 28: repeat each pixel three times a side, and they no longer do."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        heat = generator.random((28, 28)) ** 8
        fine = heat.repeat(3, axis=0).repeat(3, axis=1)
        sums = [fine[r : r + 28, c : c + 28].sum() / fine.sum() for r in (0, 28, 56) for c in (0, 28, 56)]
        region = describe_region(heat)
        if max(sums) >= FOCUS:
            strongest = int(np.argmax(sums))
            assert region.words == f"{WORDS[strongest // 3][strongest % 3]} of the image"
            assert region.share == pytest.approx(max(sums))
        else:
            assert region.words == NO_FOCUS


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_flat_maps_have_no_focus(level: float):
    region = describe_region(np.full((28, 28), level, np.float32))
    assert (region.words, region.share) == (NO_FOCUS, 0.0)


def test_nearly_flat_map_has_no_focus_although_one_zone_leads():
    heat = np.full((27, 27), 0.5)
    heat[:9, :9] = 0.55
    assert describe_region(heat).words == NO_FOCUS
    heat[:9, :9] = 0.65
    assert describe_region(heat).words == "upper left of the image"


def test_tie_goes_to_the_first_in_reading_order():
    heat = np.zeros((28, 28))
    heat[2, 25] = heat[25, 2] = 0.1
    assert describe_region(heat).words == "upper right of the image"


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_impossible_heat_is_refused(value: float):
    heat = np.zeros((28, 28))
    heat[0, 0] = value
    with pytest.raises(ValueError, match="finite values"):
        describe_region(heat)
