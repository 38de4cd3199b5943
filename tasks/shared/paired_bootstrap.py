"""Whether one of two ways does better on the same cases: a paired bootstrap (Efron and Tibshirani, 1993).

Both are judged on the same resampled cases, so that what makes a case hard for both does not count as noise.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.shared.bootstrap import balanced_interval, balanced_mean


class PairedDifference(NamedTuple):
    """How much larger a value is the first way than the second, each class counting the same.

    Attributes:
        first: class-balanced mean the first way.
        second: class-balanced mean the second way.
        difference: first less second.
        low: lower bound of the 95 % interval of the difference.
        high: upper bound.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float


def paired_difference(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    samples: int,
    seed: int,
) -> PairedDifference:
    """Compare two values per case.

    Args:
        first: shape (cases,).
        second: of the same cases, shape (cases,).
        labels: classes from 0, each with a case, shape (cases,).
        samples: number of bootstrap samples; one without some class is left out.
        seed: seed of the draw.

    Returns:
        The difference.
    """
    means = balanced_mean(first, labels), balanced_mean(second, labels)
    low, high = balanced_interval(first - second, labels, samples, seed)
    return PairedDifference(*means, means[0] - means[1], low, high)
