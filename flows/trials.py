"""The trials of a sweep: each is a step that runs a whole classification, so that what finished is never run again.

Those that are not kept run in processes of their own, or on a Dask cluster. A process gets the context of the sweep as
a remote run would, and its share of the cores.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.context import hydrated_context, serialize_context
from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled
from prefect.transactions import Transaction

from flows.classification import classification
from flows.support.naming import in_words, named
from flows.support.processes import ProcessPerCall
from flows.support.pruning import pruned_above
from flows.support.runners import dask_executor
from models.errors import LONGEST_SENTENCE, InputError
from models.text import printable
from tasks.classification.steps.training import check_training
from tasks.classification.sweep.grid import Trial
from tasks.classification.sweep.leaderboard import CRITERION, METRICS, TrialResult, balanced_log_loss
from tasks.data.catalogue import look_up
from tasks.execution.caching import is_kept, step
from tasks.execution.server import is_embedded
from tasks.execution.termination import asked_for
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.classification import PretrainedRecord, TrialRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store

if TYPE_CHECKING:
    from tasks.classification.sweep.search import Proposal, Search

_PATIENCE_SECONDS = 20
"""That the trial of a dead sweep has to tell both servers of its end; a server that is embedded is dead too."""


@step
def run_trial(
    data: DatasetRecord,
    pretrained: PretrainedRecord | None,
    dataset: DatasetParameters,
    training: TrainingParameters,
    evaluation: EvaluationParameters,
    bars: tuple[float | None, ...] = (),
) -> TrialRecord:
    """Run one classification and take its scores, or what there is of one whose training was pruned by the bars."""
    with _apart_from_this_step(), pruned_above(bars):
        found: Any = classification(dataset, training, evaluation)
    if isinstance(found, TrialRecord):
        return found
    outputs = Store().get_arrays(found.predictions.outputs)
    loss = balanced_log_loss(outputs["val_logits"], outputs["val_labels"], found.calibration.temperature)
    scores = found.evaluation.metrics | {CRITERION: loss, "train/seconds": found.classifier.seconds}
    curve = tuple(epoch.val_loss for epoch in found.classifier.history)
    return TrialRecord(metrics={metric: scores[metric] for metric in METRICS}, curve=curve, run_id=found.run.run_id)


@contextlib.contextmanager
def _apart_from_this_step() -> Iterator[None]:
    """Let steps keep their results as they end. Within the transaction of a step they would wait for its own end."""
    token = Transaction.__var__.set(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        Transaction.__var__.reset(token)


def run_trials(
    trials: Sequence[Trial],
    data: DatasetRecord,
    dataset: DatasetParameters,
    evaluation: EvaluationParameters,
    at_once: int,
    execution: ExecutionParameters,
) -> list[TrialResult]:
    """Run what no earlier sweep has finished; a trial that fails does not end the others.

    Args:
        trials: what to run.
        data: the dataset.
        dataset: its form.
        evaluation: the form.
        at_once: trials that run at the same time, but on Dask.
        execution: where they run.

    Returns:
        How each trial ended, in their order.
    """
    results: dict[int, TrialResult] = {}
    calls: dict[int, dict[str, Any]] = {}
    for place, trial in enumerate(trials):
        try:
            calls[place] = _call(trial, data, dataset, evaluation)
        except InputError as error:
            results[place] = _failed(trial, error)
    missing = [place for place, call in calls.items() if not is_kept(run_trial, call)]
    with _Elsewhere(at_once, len(missing), execution) as elsewhere:
        futures = [elsewhere.submit([trials[place]], [calls[place]]) for place in missing]
        for place, future in zip(missing, futures, strict=True):
            (results[place],) = _ended([trials[place]], future)
    kept = {place: _run(trials[place], call) for place, call in calls.items() if place not in results}
    return [(results | kept)[place] for place in range(len(trials))]


def run_search(
    search: "Search",
    count: int,
    data: DatasetRecord,
    dataset: DatasetParameters,
    evaluation: EvaluationParameters,
    at_once: int,
    execution: ExecutionParameters,
) -> list[TrialResult]:
    """Run what a search proposes and no earlier one has finished; a trial that fails does not end the others.

    So that the search repeats, a trial is proposed when that one has ended which was proposed `at_once` trials before
    it, whatever else has ended. Its training with the next seed begins when that with the seed before has finished.

    Args:
        search: proposes trials, and is told how they ended.
        count: how many trials.
        data: the dataset.
        dataset: its form.
        evaluation: the form.
        at_once: trials that run at the same time, but on Dask.
        execution: where they run.

    Returns:
        How each training ended, in the order of the trials; settings that are proposed again are not trained again.
    """
    logger = get_run_logger()
    window = min(execution.workers if execution.runner == "dask" else at_once, count)
    under_way: deque[tuple[Proposal, Callable[[], list[TrialResult]]]] = deque()
    started: dict[tuple[Any, ...], Callable[[], list[TrialResult]]] = {}

    def tell_first() -> None:
        proposal, results = under_way.popleft()
        search.tell(proposal, results())
        logger.info("trial %d of %d: %s", proposal.number + 1, count, _said(results()))

    with _Elsewhere(window, window, execution) as elsewhere:
        for _ in range(count):
            if len(under_way) == window:
                tell_first()
            proposal = search.propose()
            settings = tuple(proposal.trials[0].settings.items())
            if settings not in started:
                started[settings] = _start(proposal, data, dataset, evaluation, elsewhere)
            under_way.append((proposal, started[settings]))
        while under_way:
            tell_first()
    return [result for results in started.values() for result in results()]


class _Elsewhere(contextlib.ExitStack):
    """Where trials run that are not kept: processes of their own or a Dask cluster, made when the first one comes.

    Args:
        at_once: trials at the same time, but on Dask.
        most: trials that may come, by which the cores are shared where these are fewer.
        execution: the form.
    """

    def __init__(self, at_once: int, most: int, execution: ExecutionParameters) -> None:
        super().__init__()
        self._at_once, self._most, self._execution = at_once, most, execution
        self._pool: Executor | None = None

    def submit(self, trials: Sequence[Trial], calls: Sequence[dict[str, Any]]) -> "Future[list[TrialResult]]":
        """Run trials one after the other, up to the first that is pruned or fails."""
        on_dask = self._execution.runner == "dask"
        if self._pool is None:
            parts = min(self._execution.workers if on_dask else self._at_once, self._most)
            self._context = _portable_context(), _share_of_cores(parts)
            self.enter_context(_cancelling_children())
            self._pool = self.enter_context(
                dask_executor(self._execution)
                if on_dask
                else ProcessPerCall(self._at_once, 0 if is_embedded() else _PATIENCE_SECONDS)
            )
        return self._pool.submit(_run_elsewhere, *self._context, trials, calls)


def _start(
    proposal: "Proposal",
    data: DatasetRecord,
    dataset: DatasetParameters,
    evaluation: EvaluationParameters,
    elsewhere: _Elsewhere,
) -> Callable[[], list[TrialResult]]:
    """Start the trainings of a proposal that are not kept; return what waits for the results of all."""
    trials = proposal.trials
    try:
        calls = [
            _call(trial, data, dataset, evaluation, bars) for trial, bars in zip(trials, proposal.bars, strict=True)
        ]
    except InputError as error:
        failed = [_failed(trials[0], error)]
        return lambda: failed
    kept: list[TrialResult] = []
    for trial, call in zip(trials, calls, strict=True):
        if _ends(kept) or not is_kept(run_trial, call):
            break
        kept.append(_run(trial, call))
    left = trials[len(kept) :]
    if _ends(kept) or not left:
        return lambda: kept
    future = elsewhere.submit(left, calls[len(kept) :])
    return lambda: kept + _ended(left, future)


def _call(
    trial: Trial,
    data: DatasetRecord,
    dataset: DatasetParameters,
    evaluation: EvaluationParameters,
    bars: tuple[float | None, ...] = (),
) -> dict[str, Any]:
    """Put the arguments of a trial together.

    Raises:
        InputError: its settings make no training.
    """
    published = look_up(dataset.name, dataset.size)
    pretrained = check_training(trial.training, dataset, len(published.labels), published.images["train"])
    forms = {"dataset": dataset, "training": trial.training, "evaluation": evaluation}
    return {"data": data, "pretrained": pretrained, **forms, "bars": bars}


def _run(trial: Trial, call: dict[str, Any]) -> TrialResult:
    with named(_name(trial)):
        state = run_trial(**call, return_state=True)
    found = state.result(raise_on_failure=False)
    if isinstance(found, BaseException):
        return _failed(trial, found)
    kept: Literal["run", "kept"] = "kept" if state.name == "Cached" else "run"
    return TrialResult(
        trial.settings, trial.training.seed, kept, found.metrics, found.run_id, curve=found.curve, pruned=found.pruned
    )


def _name(trial: Trial) -> str:
    """Name a trial by what it does not share with others, in numbers that are short enough to leave room for all."""
    short = {field: float(f"{value:.3g}") for field, value in trial.settings.items() if isinstance(value, float)}
    return in_words(trial.training.model_copy(update=short), [*trial.settings, "seed"])


def _run_elsewhere(
    context: dict[str, Any], threads: int, trials: Sequence[Trial], calls: Sequence[dict[str, Any]]
) -> list[TrialResult]:
    import torch

    torch.set_num_threads(threads)  # holds for the thread that calls it, and for threads that are yet to start
    results: list[TrialResult] = []
    with hydrated_context(context):
        for trial, call in zip(trials, calls, strict=True):
            if not _ends(results):
                results.append(_run(trial, call))
    return results


def _ends(results: Sequence[TrialResult]) -> bool:
    """Tell whether trainings of the same settings with further seeds are not wanted."""
    return bool(results) and not results[-1].metrics


def _ended(trials: Sequence[Trial], future: "Future[list[TrialResult]]") -> list[TrialResult]:
    """Wait for trials that run elsewhere; where their process ended without an answer, the first has failed."""
    failure = future.exception()
    return future.result() if failure is None else [_failed(trials[0], failure)]


def _said(results: Sequence[TrialResult]) -> str:
    last = results[-1]
    if last.state == "failed":
        return f"failed: {last.error}"
    if last.pruned:
        return f"pruned after epoch {len(last.curve)}"
    return f"{CRITERION} {sum(result.metrics[CRITERION] for result in results) / len(results):.4f}"


def _failed(trial: Trial, error: BaseException) -> TrialResult:
    reason = printable(error, LONGEST_SENTENCE)
    refused = isinstance(error, InputError)
    told = reason if refused else f"{type(error).__name__}: {reason}"
    return TrialResult(trial.settings, trial.training.seed, "failed", {}, error=told, refused=refused)


def _portable_context() -> dict[str, Any]:
    """Take the context of the sweep with the server's address, else a process would start an embedded server."""
    with get_client(sync_client=True) as client, temporary_settings({PREFECT_API_URL: str(client.api_url).rstrip("/")}):
        return serialize_context()


def _share_of_cores(parts: int) -> int:
    import torch

    return max(1, torch.get_num_threads() // parts)


@contextlib.contextmanager
def _cancelling_children() -> Iterator[None]:
    """Where the sweep is interrupted, its trials are cancelled, not crashed, though a signal ended them."""
    try:
        yield
    except BaseException as error:
        if not (asked_for() or isinstance(error, KeyboardInterrupt | TerminationSignal)):
            raise
        of_sweep = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[UUID(flow_run.id)]))
        with get_client(sync_client=True) as client:
            for child in client.read_flow_runs(flow_run_filter=of_sweep):
                if child.state is None or not child.state.is_final() or child.state.is_crashed():
                    client.set_flow_run_state(child.id, Cancelled(message="Ended with its sweep."), force=True)
        raise
