import numpy as np
import pytest

from tests.soak.hour import trend


def test_the_slope_is_that_of_least_squares_an_hour():
    generator = np.random.default_rng(0)
    seconds = np.cumsum(generator.uniform(10, 20, 101))
    values = 300 + 0.01 * seconds + generator.normal(0, 2, 101)
    found = trend(seconds, values)
    assert found.slope == pytest.approx(3600 * np.polyfit(seconds, values, 1)[0])
    assert found.first == pytest.approx(values[:25].mean())
    assert found.last == pytest.approx(values[-25:].mean())


def test_two_measurements_are_enough():
    assert trend([0, 15], [100, 101]) == (100, 101, pytest.approx(240))
