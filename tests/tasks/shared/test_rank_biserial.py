import numpy as np
import pytest
from scipy.stats import bootstrap, mannwhitneyu

from tasks.shared.rank_biserial import rank_biserial


def test_it_is_the_share_of_larger_less_the_share_of_smaller_pairs():
    # Of the six pairs, 5 > 1, 5 > 4 and 2 > 1 against 2 < 4 and 0 < 1 and 0 < 4.
    assert rank_biserial(np.array([5, 2, 0]), np.array([1, 4]), samples=10, seed=0).value == 0
    assert rank_biserial(np.array([5, 2]), np.array([1, 4]), samples=10, seed=0).value == pytest.approx((3 - 1) / 4)


def test_it_agrees_with_mann_whitney_where_values_tie():
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 6, 30), generator.integers(1, 7, 50)
    wins = mannwhitneyu(first, second).statistic
    found = rank_biserial(first, second, samples=10, seed=0)
    assert found.value == pytest.approx(2 * wins / (30 * 50) - 1, abs=1e-12)
    assert found.n == 80


def test_the_interval_is_that_of_a_bootstrap_within_each_group():
    generator = np.random.default_rng(1)
    first, second = generator.normal(0.4, 1, 40), generator.normal(0, 1, 70)

    def correlation(first, second):
        return np.sign(first[:, None] - second).mean()

    expected = bootstrap(
        (first, second), correlation, n_resamples=2000, vectorized=False, method="percentile", rng=generator
    ).confidence_interval
    found = rank_biserial(first, second, samples=2000, seed=0)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.02)


def test_the_groups_are_drawn_apart():
    """Drawn alike, two groups of the same values would differ in no sample."""
    values = np.random.default_rng(2).normal(size=30)
    found = rank_biserial(values, values, samples=200, seed=0)
    assert found.low < -0.1 < found.value == 0 < 0.1 < found.high


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0)])
def test_an_empty_group_leaves_it_unknown(sizes):
    found = rank_biserial(np.zeros(sizes[0]), np.zeros(sizes[1]), samples=10, seed=0)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert found.n == 3
