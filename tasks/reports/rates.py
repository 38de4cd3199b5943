"""A share with its interval: what most figures of the audit are."""

from collections.abc import Iterable
from typing import NamedTuple


class Rate(NamedTuple):
    """A share, or another figure, with its 95 % interval.

    Attributes:
        value: the figure; NaN where there is nothing to take it from.
        low: lower bound; NaN where it is not known.
        high: upper bound; NaN where it is not known.
        n: what it is taken from: answers, pairs, findings or cases.
    """

    value: float
    low: float
    high: float
    n: int


UNKNOWN = Rate(float("nan"), float("nan"), float("nan"), 0)


def share(flags: Iterable[bool]) -> Rate:
    """Take the share that is true, with its Wilson score interval (Wilson, 1927).

    Args:
        flags: one a trial.

    Returns:
        The share; `UNKNOWN` without trials.
    """
    from statsmodels.stats.proportion import proportion_confint

    trials = [bool(flag) for flag in flags]
    if not trials:
        return UNKNOWN
    low, high = proportion_confint(sum(trials), len(trials), method="wilson")
    return Rate(sum(trials) / len(trials), float(low), float(high), len(trials))
