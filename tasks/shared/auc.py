"""Area under the ROC curve: how well a score tells two groups apart."""

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


def macro_auc(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Average the area under the ROC curve over the classes, each against the rest.

    Args:
        probabilities: of each class, shape (cases, classes).
        labels: 0 … classes - 1, each of them present, shape (cases,).

    Returns:
        The mean of the areas; of two classes both are the same.
    """
    columns = enumerate(probabilities.T)
    return float(np.mean([auc_with_interval(p[labels != c], p[labels == c]).value for c, p in columns]))


def tied_counts(
    scores: NDArray[np.floating], positive: NDArray[np.bool_], counts: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the cases at each distinct score in several samples of the same cases at once.

    Args:
        scores: shape (cases,).
        positive: whether a case is of the group that is expected to score higher, shape (cases,).
        counts: how often each sample holds each case, shape (samples, cases).

    Returns:
        Positive and negative cases, each of shape (samples, distinct scores), the highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    ranked = counts[:, order]
    positives = np.add.reduceat(ranked * positive[order], starts, axis=1)
    return positives, np.add.reduceat(ranked, starts, axis=1) - positives


def auc_of_counts(positives: NDArray[np.floating], negatives: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the area under the ROC curve of several samples at once.

    Args:
        positives: of `tied_counts`, shape (samples, distinct scores).
        negatives: of `tied_counts`, the same shape.

    Returns:
        The areas, shape (samples,), ties counted half; NaN where a sample lacks a group.
    """
    # A negative is outranked by the positives found before it, and by half of those that tie with it.
    wins = (negatives * (positives.cumsum(axis=1) - positives / 2)).sum(axis=1)
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return np.divide(wins, pairs, out=np.full_like(wins, np.nan), where=pairs > 0)
