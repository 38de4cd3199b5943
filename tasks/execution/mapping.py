"""Steps that run at the same time: parts of one, by whatever runs the flow's tasks; independent ones, in threads."""

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.execution.caching import is_kept

R = TypeVar("R")
AT_ONCE = 2
"""Independent steps at the same time. Most hold Python's lock half of the time, so that more would only wait."""


def map_step(step: Task[..., R], calls: Sequence[Mapping[str, Any]], runner: TaskRunner[Any] | None = None) -> list[R]:
    """Run a step once for each call. What is kept does not travel: it is answered here, while the rest runs.

    Args:
        step: the step.
        calls: all its arguments, by name, for each part.
        runner: what runs them, entered already; None is the flow's own.

    Returns:
        The results, in the order of the calls.
    """
    sent: dict[int, PrefectFuture[R]] = {
        place: step.submit(**call) if runner is None else runner.submit(step, dict(call))
        for place, call in enumerate(calls)
        if not is_kept(step, call)
    }
    kept = {place: step(**call) for place, call in enumerate(calls) if place not in sent}
    return [kept[place] if place in kept else sent[place].result() for place in range(len(calls))]


class Starter:
    """Starts steps in threads of this process.

    Args:
        runner: the threads.
    """

    def __init__(self, runner: ThreadPoolTaskRunner[Any]) -> None:
        self._runner = runner

    def __call__(self, step: Task[..., R], *arguments: Any, **named: Any) -> PrefectFuture[R]:
        """Start a step.

        Args:
            step: the step.
            arguments: its arguments; a future stands for its result, and is waited for.
            named: its arguments by name.

        Returns:
            The future, whose `result()` raises what the step raised.
        """
        return self._runner.submit(step, dict(inspect.signature(step.fn).bind(*arguments, **named).arguments))


@contextlib.contextmanager
def steps_at_once() -> Iterator[Starter]:
    """Let steps that do not need each other run at the same time, two of them, in the order in which they are started.

    A step is started after those whose futures it takes. Within the block the result of each is asked for, in the same
    order: an error then ends the flow as that of a step that is called does.
    """
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=AT_ONCE)
    with runner:
        yield Starter(runner)
