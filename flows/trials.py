"""The trials of a sweep: each is a step that runs a whole classification, so that what finished is never run again.

Those that are not kept run in processes of their own, or on a Dask cluster. A process gets the context of the sweep as
a remote run would, and its share of the cores.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.context import hydrated_context, serialize_context
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled
from prefect.transactions import Transaction

from flows.classification import classification
from flows.support.naming import in_words, named
from flows.support.processes import ProcessPerCall
from flows.support.runners import dask_executor
from models.errors import LONGEST_SENTENCE, InputError
from models.text import printable
from tasks.classification.steps.training import check_training
from tasks.classification.sweep.grid import Trial
from tasks.classification.sweep.leaderboard import CRITERION, METRICS, TrialResult, balanced_log_loss
from tasks.data.catalogue import look_up
from tasks.execution.caching import is_kept, step
from tasks.execution.termination import asked_for
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.classification import PretrainedRecord, TrialRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store


@step
def run_trial(
    data: DatasetRecord,
    pretrained: PretrainedRecord | None,
    dataset: DatasetParameters,
    training: TrainingParameters,
    evaluation: EvaluationParameters,
) -> TrialRecord:
    """Run one classification and take its scores."""
    with _apart_from_this_step():
        found = classification(dataset, training, evaluation)
    outputs = Store().get_arrays(found.predictions.outputs)
    loss = balanced_log_loss(outputs["val_logits"], outputs["val_labels"], found.calibration.temperature)
    scores = found.evaluation.metrics | {CRITERION: loss, "train/seconds": found.classifier.seconds}
    return TrialRecord(metrics={metric: scores[metric] for metric in METRICS}, run_id=found.run.run_id)


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
    published = look_up(dataset.name, dataset.size)
    for place, trial in enumerate(trials):
        try:
            pretrained = check_training(trial.training, dataset, len(published.labels), published.images["train"])
        except InputError as error:
            results[place] = _failed(trial, error)
        else:
            forms = {"dataset": dataset, "training": trial.training, "evaluation": evaluation}
            calls[place] = {"data": data, "pretrained": pretrained, **forms}
    missing = [place for place, call in calls.items() if not is_kept(run_trial, call)]
    if missing:
        on_dask = execution.runner == "dask"
        context = _portable_context(), _share_of_cores(min(execution.workers if on_dask else at_once, len(missing)))
        with _cancelling_children(), dask_executor(execution) if on_dask else ProcessPerCall(at_once) as pool:
            futures = [pool.submit(_run_elsewhere, *context, trials[place], calls[place]) for place in missing]
            for place, future in zip(missing, futures, strict=True):
                failure = future.exception()
                results[place] = future.result() if failure is None else _failed(trials[place], failure)
    kept = {place: _run(trials[place], call) for place, call in calls.items() if place not in results}
    return [(results | kept)[place] for place in range(len(trials))]


def _run(trial: Trial, call: dict[str, Any]) -> TrialResult:
    with named(in_words(trial.training, [*trial.settings, "seed"])):
        state = run_trial(**call, return_state=True)
    found = state.result(raise_on_failure=False)
    if isinstance(found, BaseException):
        return _failed(trial, found)
    kept: Literal["run", "kept"] = "kept" if state.name == "Cached" else "run"
    return TrialResult(trial.settings, trial.training.seed, kept, found.metrics, found.run_id)


def _run_elsewhere(context: dict[str, Any], threads: int, trial: Trial, call: dict[str, Any]) -> TrialResult:
    import torch

    torch.set_num_threads(threads)  # holds for the thread that calls it, and for threads that are yet to start
    with hydrated_context(context):
        return _run(trial, call)


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
