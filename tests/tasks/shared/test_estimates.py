import math

import pytest

from tasks.shared.estimates import UNKNOWN, Estimate, format_estimate, format_value, share


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's formula (1927), written out."""
    z = 1.959963984540054
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


@pytest.mark.parametrize(("successes", "n"), [(0, 4), (1, 3), (7, 20), (5, 5)])
def test_a_share_has_wilsons_interval(successes: int, n: int):
    rate = share([True] * successes + [False] * (n - successes))
    assert rate.value == successes / n
    assert rate.n == n
    assert (rate.low, rate.high) == pytest.approx(wilson(successes, n), abs=1e-12)


def test_a_share_of_nothing_is_unknown():
    rate = share([])
    assert rate.n == 0
    assert math.isnan(rate.value)
    assert math.isnan(rate.low)
    assert math.isnan(rate.high)


def test_a_rate_in_words():
    assert format_estimate(Estimate(0.9124, 0.88, 0.9361, 50)) == "0.912 (0.880 – 0.936)"
    assert format_estimate(Estimate(0.5, math.nan, math.nan, 1)) == "0.500"
    assert format_estimate(UNKNOWN) == "–"


def test_a_share_has_the_interval_of_wilson():
    # The example of Newcombe (1998), method 3: 81 of 263.
    rate = share([True] * 81 + [False] * 182)
    assert rate.value == pytest.approx(81 / 263)
    assert (rate.low, rate.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert rate.n == 263


def test_a_count_has_no_decimals():
    assert [format_value(value) for value in (2.0, 0, 1, 12.0, 1.0, 0.5, float("nan"))] == [
        "2",
        "0", "1", "12", "1.000", "0.500", "–"
    ]  # fmt: skip
