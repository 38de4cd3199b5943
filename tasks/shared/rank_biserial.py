"""How far one group lies above another, in ranks."""

import numpy as np
from numpy.typing import NDArray

from tasks.shared.bootstrap import interval, resample_counts
from tasks.shared.estimates import Estimate


def rank_biserial(first: NDArray[np.floating], second: NDArray[np.floating], *, samples: int, seed: int) -> Estimate:
    """Compute the rank-biserial correlation (Kerby, "The simple difference formula", 2014) with a bootstrap interval.

    It is the share of pairs of one value of each group in which the first is larger, less the share in which it is
    smaller: 2 × AUC − 1. Memory: 8 bytes per pair.

    Args:
        first: values of one group, shape (any,).
        second: values of the other, shape (any,).
        samples: bootstrap samples, drawn within each group.
        seed: seed of the bootstrap.

    Returns:
        The correlation in [-1, 1] with its 95 % interval; 0 without a difference, NaN where a group is empty.
    """
    cases = len(first) + len(second)
    if not len(first) or not len(second):
        return Estimate(float("nan"), float("nan"), float("nan"), cases)
    order = np.sign(first[:, None].astype(np.float64) - second)
    counts = resample_counts(len(first), samples, seed)
    other_counts = resample_counts(len(second), samples, seed + 1)  # not the draws of the first group again
    drawn = ((counts @ order) * other_counts).sum(axis=1) / order.size
    return Estimate(float(order.mean()), *interval(drawn), cases)
