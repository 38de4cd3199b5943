"""What was measured over time, week by week."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Week:
    """A week, from Monday on, UTC.

    Attributes:
        start: its Monday.
        runs: how many runs there were.
        means: mean of each metric over the runs that have it.
        sums: sum of each metric over the runs that have it.
    """

    start: date
    runs: int
    means: Mapping[str, float]
    sums: Mapping[str, float]


def week_of(moment: datetime) -> date:
    """Return the Monday of the week that a moment is in, by UTC."""
    day = moment.astimezone(UTC).date()
    return day - timedelta(days=day.weekday())


Measured = Sequence[tuple[datetime, Mapping[str, float]]]


def by_week(measured: Measured, beside: Measured, most: int) -> list[Week]:
    """Sum up what was measured in each week.

    Args:
        measured: moment and metrics of each run, in any order.
        beside: the same of runs that are not counted, whose metrics have other names; those of other weeks are left
            out.
        most: how many weeks are kept, the last ones.

    Returns:
        The weeks from the first to the last that has a run, those between without any included.
    """
    if not measured:
        return []
    runs, others = _gathered(measured), _gathered(beside)
    last, weeks = max(runs), list[Week]()
    start = max(min(runs), last - (most - 1) * _WEEK)
    while start <= last:
        found = runs.get(start, [])
        values: dict[str, list[float]] = {}
        for metrics in (*found, *others.get(start, [])):
            for name, value in metrics.items():
                values.setdefault(name, []).append(value)
        sums = {name: math.fsum(known) for name, known in values.items()}
        means = {name: total / len(values[name]) for name, total in sums.items()}
        weeks.append(Week(start, len(found), means, sums))
        start += _WEEK
    return weeks


def _gathered(measured: Measured) -> dict[date, list[Mapping[str, float]]]:
    found: dict[date, list[Mapping[str, float]]] = {}
    for moment, metrics in measured:
        found.setdefault(week_of(moment), []).append(metrics)
    return found
