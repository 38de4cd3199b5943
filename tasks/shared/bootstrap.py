"""Percentile bootstrap intervals (Efron and Tibshirani, 1993)."""

import numpy as np
from numpy.typing import NDArray


def resample(size: int, samples: int, seed: int) -> NDArray[np.int64]:
    """Draw indices with replacement.

    Args:
        size: number of cases, at least 1.
        samples: number of bootstrap samples.
        seed: seed of the draw; the same seed gives the same indices, so that two statistics of one seed are paired.

    Returns:
        Indices in [0, size), shape (samples, size).
    """
    return np.random.default_rng(seed).integers(0, size, size=(samples, size))


def resample_counts(size: int, samples: int, seed: int) -> NDArray[np.float64]:
    """Count how often each bootstrap sample holds each case.

    Args:
        size: number of cases, at least 1.
        samples: number of bootstrap samples.
        seed: as in `resample`, whose samples are counted.

    Returns:
        Counts, shape (samples, size); each row sums to `size`.
    """
    shifted = resample(size, samples, seed) + size * np.arange(samples)[:, None]
    return np.bincount(shifted.ravel(), minlength=samples * size).reshape(samples, size).astype(np.float64)


def interval(statistics: NDArray[np.floating], level: float = 0.95) -> tuple[float, float]:
    """Take the percentile interval of resampled statistics.

    Args:
        statistics: one value per bootstrap sample, shape (samples,); NaN marks a sample on which the statistic is
            undefined (one class only, say) and is left out.
        level: coverage, in (0, 1).

    Returns:
        Lower and upper bound; both NaN where every sample was undefined.
    """
    if np.isnan(statistics).all():
        return float("nan"), float("nan")
    tail = 100 * (1 - level) / 2
    low, high = np.nanpercentile(statistics, [tail, 100 - tail])
    return float(low), float(high)


def mean_interval(values: NDArray[np.floating], samples: int, seed: int) -> tuple[float, float]:
    """Take the interval of a mean over cases.

    Args:
        values: one value per case, shape (cases,).
        samples: number of bootstrap samples.
        seed: seed of the draw.

    Returns:
        Lower and upper bound of the 95 % interval.
    """
    return interval(values[resample(len(values), samples, seed)].mean(axis=1))


def balanced_mean(values: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Average over cases so that each class counts the same.

    Args:
        values: one value per case, shape (cases,).
        labels: classes from 0, each with a case, shape (cases,).

    Returns:
        The mean of the classes' means.
    """
    members = np.eye(int(labels.max()) + 1)[labels]
    return float((values @ members / members.sum(axis=0)).mean())


def balanced_interval(
    values: NDArray[np.floating], labels: NDArray[np.integer], samples: int, seed: int
) -> tuple[float, float]:
    """Take the interval of `balanced_mean`; of differences between paired values, a paired bootstrap.

    Args:
        values: one value per case, shape (cases,).
        labels: classes from 0, each with a case, shape (cases,).
        samples: number of bootstrap samples; one without some class is left out.
        seed: seed of the draw.

    Returns:
        Lower and upper bound of the 95 % interval.
    """
    members = np.eye(int(labels.max()) + 1)[labels]
    counts = resample_counts(len(labels), samples, seed)
    with np.errstate(invalid="ignore"):  # a sample without some class is NaN, which the interval leaves out
        means = ((counts @ (members * values[:, None])) / (counts @ members)).mean(axis=1)
    return interval(means)
