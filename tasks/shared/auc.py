"""How well a score tells two groups apart."""

import numpy as np
from numpy.typing import NDArray

from tasks.shared.estimates import UNKNOWN, Estimate


def auc_with_interval(lower: NDArray[np.floating], higher: NDArray[np.floating]) -> Estimate:
    """Compute the area under the ROC curve, with the interval of DeLong, DeLong and Clarke-Pearson (1988).

    Args:
        lower: scores of the group that is expected to score lower, shape (any,).
        higher: scores of the other, shape (any,).

    Returns:
        The probability that one of `higher` outscores one of `lower`, ties counted half; 0.5 is chance. `UNKNOWN`
        where a group is empty, bounds unknown where it holds one case.
    """
    from scipy.stats import rankdata

    if not len(lower) or not len(higher):
        return UNKNOWN
    ranks = rankdata(np.concatenate([higher, lower]))
    # What share of the other group each case outscores: its rank among all less its rank in its own group.
    wins = (ranks[: len(higher)] - rankdata(higher)) / len(lower)
    losses = (ranks[len(higher) :] - rankdata(lower)) / len(higher)
    area, cases = float(wins.mean()), len(lower) + len(higher)
    if min(len(lower), len(higher)) < 2:
        return Estimate(area, float("nan"), float("nan"), cases)
    margin = 1.96 * np.sqrt(wins.var(ddof=1) / len(higher) + losses.var(ddof=1) / len(lower))
    return Estimate(area, float(max(0, area - margin)), float(min(1, area + margin)), cases)
