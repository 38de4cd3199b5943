"""A step done in parts, by whatever runs the tasks of the flow: threads, or processes on one or more machines."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from prefect import Task

from tasks.execution.caching import is_kept

R = TypeVar("R")


def map_step(step: Task[..., R], calls: Sequence[Mapping[str, Any]]) -> list[R]:
    """Run a step once for each call. What is kept does not travel: it is answered here, while the rest runs.

    Args:
        step: the step.
        calls: all its arguments, by name, for each part.

    Returns:
        The results, in the order of the calls.
    """
    sent = {place: step.submit(**call) for place, call in enumerate(calls) if not is_kept(step, call)}
    kept = {place: step(**call) for place, call in enumerate(calls) if place not in sent}
    return [kept[place] if place in kept else sent[place].result() for place in range(len(calls))]
