"""Weeks against a plain loop over the days."""

import random
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from tasks.retrieval.weekly import by_week, week_of


def test_without_runs_there_are_no_weeks():
    assert by_week([], [(datetime(2026, 1, 1, tzinfo=UTC), {"cases/count": 3.0})], 53) == []


def test_a_week_begins_on_monday_by_utc():
    assert week_of(datetime(2026, 11, 29, 23, 59, tzinfo=UTC)) == date(2026, 11, 23)
    assert week_of(datetime(2026, 11, 30, tzinfo=UTC)) == date(2026, 11, 30)
    assert week_of(datetime(2026, 11, 30, 0, 30, tzinfo=timezone(timedelta(hours=1)))) == date(2026, 11, 23)


def test_weeks_are_those_of_a_plain_loop():
    draw = random.Random(0)
    start = datetime(2025, 12, 1, tzinfo=UTC)
    measured = [
        (
            start + timedelta(hours=draw.uniform(0, 24 * 150)),
            {"a": draw.random()} | ({"b": 1.0} if draw.random() < 0.3 else {}),
        )
        for _ in range(40)
    ]
    beside = [(start + timedelta(days=day), {"c": 2.0}) for day in range(-30, 300)]
    weeks = by_week(measured, beside, 53)
    assert weeks[0].start == min(week_of(moment) for moment, _ in measured)
    assert weeks[-1].start == max(week_of(moment) for moment, _ in measured)
    assert sum(week.runs for week in weeks) == 40
    for place, week in enumerate(weeks):
        assert week.start == weeks[0].start + place * timedelta(days=7)
        days = {week.start + timedelta(days=day) for day in range(7)}
        inside = [metrics for moment, metrics in measured if moment.date() in days]
        assert week.runs == len(inside)
        for name in ("a", "b"):
            values = [metrics[name] for metrics in inside if name in metrics]
            assert (name in week.means) == bool(values)
            if values:
                assert week.sums[name] == pytest.approx(sum(values))
                assert week.means[name] == pytest.approx(sum(values) / len(values))
        assert week.sums["c"] == 14.0


def test_only_the_last_weeks_are_kept():
    start = datetime(2026, 1, 5, tzinfo=UTC)
    weeks = by_week([(start + place * timedelta(days=7), {}) for place in range(60)], [], 53)
    assert len(weeks) == 53
    assert weeks[-1].start == (start + 59 * timedelta(days=7)).date()
