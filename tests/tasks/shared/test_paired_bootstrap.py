import numpy as np
import pytest

from tasks.shared.bootstrap import resample
from tasks.shared.paired_bootstrap import paired_difference


def test_the_difference_and_its_interval_equal_a_naive_loop():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [12, 28])
    first, second = random.normal(size=(2, 40)) + 3 * random.normal(size=40)  # what is hard is hard for both

    def mean(values, places):
        return np.mean([values[places][labels[places] == label].mean() for label in range(2)])

    found = paired_difference(first, second, labels, samples=200, seed=2)
    whole = np.arange(40)
    assert (found.first, found.second) == pytest.approx((mean(first, whole), mean(second, whole)))
    assert found.difference == pytest.approx(mean(first, whole) - mean(second, whole))
    drawn = [mean(first, places) - mean(second, places) for places in resample(40, 200, 2)]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))
