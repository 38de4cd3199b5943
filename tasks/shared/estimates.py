"""A share with its interval: what most figures of an audit are."""

from collections.abc import Iterable
from typing import NamedTuple


class Estimate(NamedTuple):
    """A share, or another figure, with its 95 % interval.

    Attributes:
        value: the figure; NaN where there is nothing to take it from.
        low: lower bound; NaN where it is not known.
        high: upper bound; NaN where it is not known.
        n: what it is taken from: answers, pairs, findings, images or cases.
    """

    value: float
    low: float
    high: float
    n: int


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"), 0)


def share(flags: Iterable[bool]) -> Estimate:
    """Take the share that is true, with its Wilson score interval (Wilson, 1927).

    Args:
        flags: one per trial.

    Returns:
        The share; `UNKNOWN` without trials.
    """
    from statsmodels.stats.proportion import proportion_confint

    trials = [bool(flag) for flag in flags]
    if not trials:
        return UNKNOWN
    low, high = proportion_confint(sum(trials), len(trials), method="wilson")
    return Estimate(sum(trials) / len(trials), float(low), float(high), len(trials))


def format_estimate(rate: Estimate) -> str:
    """Write a rate for a table.

    Args:
        rate: the rate.

    Returns:
        Such as "0.912 (0.880–0.936)"; a dash where it is unknown, no bounds where they are.
    """
    if rate.value != rate.value:
        return "–"
    return f"{rate.value:.3f}" + (f" ({rate.low:.3f} – {rate.high:.3f})" if rate.low == rate.low else "")


def format_value(value: float) -> str:
    """Write a count without decimals, anything else with three, and a dash where it is not known."""
    if isinstance(value, int):
        return str(value)
    if value != value:
        return "–"
    return f"{value:.0f}" if value == int(value) and abs(value) > 1 else f"{value:.3f}"
