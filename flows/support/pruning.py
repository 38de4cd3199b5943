"""A training that a search ends early, for it falls behind earlier ones: what ends it, and what its runs say then."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.support.products import Stage
from tasks.records.classification import ClassifierRecord, TrialRecord
from tasks.tracking import runs

P = ParamSpec("P")
R = TypeVar("R")
Bars = tuple[float | None, ...]

PRUNED = "Pruned"
"""Name of the state in which such a flow run ends; Prefect's own names are fixed by what they stand for."""
TAG = "pruned"

_bars: ContextVar[Bars] = ContextVar("bars", default=())


class _PrunedTrainingError(runs.PrunedError):
    def __init__(self, said: str, record: TrialRecord) -> None:
        super().__init__(said)
        self.record = record


@contextlib.contextmanager
def pruned_above(bars: Bars) -> Iterator[None]:
    """Prune the trainings that begin here in this process.

    Args:
        bars: by epoch, what the lowest validation loss so far may not exceed; None sets no bar.
    """
    token = _bars.set(bars)
    try:
        yield
    finally:
        _bars.reset(token)


def current_bars() -> Bars:
    """Return the bars of the trainings that begin here; none outside a search."""
    return _bars.get()


def end_if_pruned(stage: Stage, classifier: ClassifierRecord, epochs: int) -> None:
    """Leave the flow where its training was pruned, and say so on the pages of its runs.

    Args:
        stage: the stage.
        classifier: what was trained.
        epochs: how many epochs it would have had.
    """
    if not classifier.pruned:
        return
    curve = tuple(epoch.val_loss for epoch in classifier.history)
    done, bar = len(curve), current_bars()[len(curve) - 1]
    said = (
        f"Pruned after epoch {done} of {epochs}: its lowest validation loss, {min(curve):.4g}, is above {bar:.4g}, the "
        "median of earlier trials."
    )
    runs.log_tags(stage.run, {TAG: said})
    stage.page.decision = said
    get_run_logger().info(said)
    raise _PrunedTrainingError(said, TrialRecord(metrics={}, curve=curve, pruned=True, run_id=stage.run.run_id))


def ending_as_pruned(function: Callable[P, R]) -> Callable[P, R]:
    """Let a flow end in a state of its own where its training was pruned; its result is what there is of the trial."""

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return function(*arguments, **named)
        except _PrunedTrainingError as pruned:
            return Completed(name=PRUNED, message=str(pruned), data=pruned.record)  # type: ignore[return-value]

    return call
