import numpy as np
import pytest
import scipy.stats

from tasks.shared.bootstrap import (
    balanced_interval,
    balanced_mean,
    interval,
    mean_interval,
    resample,
    resample_counts,
)


def test_resampling_repeats_and_stays_in_range():
    indices = resample(7, 50, seed=3)
    assert indices.shape == (50, 7)
    assert indices.min() >= 0
    assert indices.max() <= 6
    np.testing.assert_array_equal(indices, resample(7, 50, seed=3))
    assert (indices != resample(7, 50, seed=4)).any()


def test_counts_are_those_of_the_samples():
    counts = resample_counts(7, 50, seed=3)
    for sample, row in zip(resample(7, 50, seed=3), counts, strict=True):
        assert row.tolist() == [sample.tolist().count(case) for case in range(7)]


def test_the_interval_of_a_mean_agrees_with_scipy():
    values = np.random.default_rng(0).exponential(size=200)
    reference = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    low, high = mean_interval(values, samples=20_000, seed=0)
    assert low == pytest.approx(reference.low, abs=0.01)
    assert high == pytest.approx(reference.high, abs=0.01)


@pytest.mark.parametrize("sizes", [(38, 2), (30, 8, 2)])
def test_the_balanced_mean_and_its_interval_equal_a_naive_loop(sizes):
    random, classes = np.random.default_rng(0), len(sizes)
    values, labels = random.normal(size=40), np.repeat(np.arange(classes), sizes)

    def mean(places):
        return np.mean([values[places][labels[places] == label].mean() for label in range(classes)])

    assert balanced_mean(values, labels) == pytest.approx(mean(np.arange(40)))
    defined = [drawn for drawn in resample(40, 100, 1) if len(set(labels[drawn])) == classes]
    assert 50 < len(defined) < 100  # some hold no image of the rarest class
    expected = np.percentile([mean(drawn) for drawn in defined], [2.5, 97.5])
    assert balanced_interval(values, labels, samples=100, seed=1) == pytest.approx(tuple(expected))


def test_undefined_samples_are_left_out():
    statistics = np.array([np.nan, *np.linspace(0, 1, 101)])
    assert interval(statistics) == pytest.approx((0.025, 0.975))
    assert interval(statistics, level=0.5) == pytest.approx((0.25, 0.75))
    assert np.isnan(interval(np.full(5, np.nan))).all()
