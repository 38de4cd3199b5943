"""Sweep: a grid of settings × seeds, each a classification of its own → leaderboard."""

import contextlib
import ctypes
import hashlib
import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from prefect import flow
from prefect.context import hydrated_context, serialize_context
from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel

from flows.classification import classification
from flows.support.artifacts import show_document, show_steps
from flows.support.provenance import log_dataset
from flows.support.runners import dask_executor, require_workers
from models.errors import LONGEST_SENTENCE, InputError
from models.text import printable
from tasks.classification.steps.evaluation import calibrate_classifier, evaluate_classifier
from tasks.classification.steps.training import predict_classifier, train_classifier
from tasks.classification.sweep.grid import Trial, grid
from tasks.classification.sweep.leaderboard import (
    CRITERION,
    METRICS,
    TrialResult,
    balanced_log_loss,
    leaderboard,
    rows_as_numbers,
    sweep_report,
)
from tasks.data.catalogue import look_up
from tasks.data.steps import locate_source, prepare_dataset
from tasks.execution.caching import components, outcomes
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.sweep import SweepParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import DocumentRecord
from tasks.records.data import DatasetRecord
from tasks.storage.disks import in_plain_words
from tasks.storage.store import Store
from tasks.tracking import runs

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_SWEEP, _EXECUTION = SweepParameters(), ExecutionParameters()


@flow(name="sweep", flow_run_name="sweep over {dataset.name}")
@in_plain_words
def sweep(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
    sweep: SweepParameters = _SWEEP,
    execution: ExecutionParameters = _EXECUTION,
) -> dict[str, Any]:
    """Train every combination of settings with every seed, and put the combinations in order by validation."""
    started = time.monotonic()
    require_workers(execution)
    trials = grid(training, sweep, classes=len(look_up(dataset.name, dataset.size).labels))
    source = locate_source(dataset)
    forms = {"dataset": dataset, "training": training, "evaluation": evaluation, "sweep": sweep}
    with runs.tracked_run("sweep", forms) as run:
        data = prepare_dataset(source, dataset.limit)
        log_dataset(run, data, "training")
        results, errors = _run_trials(trials, data, dataset, evaluation, sweep.at_once, execution)
        rows = leaderboard(results)
        states = [result.state for result in results]
        counts = {f"sweep/{state}": states.count(state) for state in ("run", "kept", "failed")}

        runs.log_metrics(run, counts | {"sweep/seconds": time.monotonic() - started})
        runs.log_table(run, "leaderboard.json", *rows_as_numbers(rows))
        store = Store()
        report = sweep_report(rows, results, phantoms=data.phantoms)
        document = DocumentRecord(document=store.put(report.encode(), "text/markdown"))
        figures = {}
        if len(errors) < len(results):
            from tasks.classification.sweep.figures import parallel_coordinates

            png = parallel_coordinates(rows, results, phantoms=data.phantoms)
            figures["parallel_coordinates"] = store.put(png, "image/png")
            runs.log_metrics(run, {f"best/{name}": value.mean for name, value in rows[0].summaries.items()})
        runs.log_files(run, {f"figures/{name}.png": stored for name, stored in figures.items()})
        runs.log_files(run, {"report.md": document.document})
        show_document("sweep", document, figures)
        show_steps("sweep", outcomes([str(flow_run.id)]))
        get_run_logger().info("Leaderboard and figure: %s", runs.page_of(run))
        if errors:
            mistakes = all(isinstance(error, InputError) for error in errors)
            raise (InputError if mistakes else RuntimeError)(
                f"{len(errors)} of {len(results)} trainings failed, the first because: {printable(errors[0], 160)} "
                "The leaderboard names them all; the next sweep tries only these again."
            ) from errors[0]
    return {"flow_run_id": str(flow_run.id), "mlflow_run_id": run.run_id, "rows": rows, "results": results}


_SCORED = (
    train_classifier.fn, predict_classifier.fn, calibrate_classifier.fn, evaluate_classifier.fn, balanced_log_loss,
)  # fmt: skip


def _run_trials(
    trials: Sequence[Trial],
    data: DatasetRecord,
    dataset: DatasetParameters,
    evaluation: EvaluationParameters,
    at_once: int,
    execution: ExecutionParameters,
) -> tuple[list[TrialResult], list[Exception]]:
    """Take what an earlier sweep finished and run the rest, some at once; one that fails does not end the others.

    Each trial is a flow run of its own in a thread, or in a process of a Dask cluster. It gets the context of the sweep
    as a remote run would (and not as a task would, whose steps keep no result before the task ends), and its share of
    the cores.

    Returns:
        How each trial ended, in their order, and the errors of those that failed.
    """
    import torch  # after the parameters are checked

    store = Store()
    ledger = [f"sweep/{_identity(data, trial.training, evaluation)}.json" for trial in trials]
    found = {name: store.read_note(name, _Entry) for name in ledger}
    kept = {name: entry for name, entry in found.items() if entry and entry.metrics.keys() >= set(METRICS)}
    get_run_logger().info("%d of %d trainings are kept from earlier sweeps.", len(kept), len(trials))
    missing = len(trials) - len(kept)
    on_dask = execution.runner == "dask" and missing > 0
    cores = torch.get_num_threads()
    threads = max(1, cores // max(1, min(execution.workers if on_dask else at_once, missing)))
    context = serialize_context()
    results, errors = [], []
    with dask_executor(execution) if on_dask else _interruptible_pool(at_once) as pool:
        futures = {
            name: pool.submit(_run_trial, context, trial, dataset, evaluation, name, threads)
            for trial, name in zip(trials, ledger, strict=True)
            if name not in kept
        }
        for trial, name in zip(trials, ledger, strict=True):
            error = futures[name].exception() if name in futures else None
            seed = trial.training.seed
            if error is None:
                state: Literal["run", "kept"] = "run" if name in futures else "kept"
                entry = futures[name].result() if name in futures else kept[name]
                results.append(TrialResult(trial.settings, seed, state, entry.metrics, entry.run_id))
            elif isinstance(error, Exception):
                errors.append(error)
                reason = printable(error, LONGEST_SENTENCE)
                reason = reason if isinstance(error, InputError) else f"{type(error).__name__}: {reason}"
                results.append(TrialResult(trial.settings, seed, "failed", {}, error=reason))
            else:
                raise error
    torch.set_num_threads(cores)
    return results, errors


def _run_trial(
    context: dict[str, Any],
    trial: Trial,
    dataset: DatasetParameters,
    evaluation: EvaluationParameters,
    name: str,
    threads: int,
) -> "_Entry":
    """Run one classification and note its scores in the ledger."""
    import torch

    torch.set_num_threads(threads)  # holds for the thread that calls it, and for threads that are yet to start
    with hydrated_context(context):
        classified = classification(dataset, trial.training, evaluation)
    outputs = Store().get_arrays(classified.predictions.outputs)
    loss = balanced_log_loss(outputs["val_logits"], outputs["val_labels"], classified.calibration.temperature)
    found = classified.evaluation.metrics | {CRITERION: loss, "train/seconds": classified.classifier.seconds}
    entry = _Entry(metrics={metric: found[metric] for metric in METRICS}, run_id=classified.run.run_id)
    Store().write(name, json.dumps(entry.model_dump()).encode())
    return entry


class _Entry(BaseModel):
    """The scores of one trial in the ledger, and its MLflow run."""

    metrics: dict[str, float]
    run_id: str


def _identity(data: DatasetRecord, training: TrainingParameters, evaluation: EvaluationParameters) -> str:
    """Take the digest of what the scores of a trial depend on: data, forms, and the code on the way to them."""
    arguments = {"dataset": data, "training": training, "evaluation": evaluation}
    parts: list[Any] = [components(function, arguments) for function in _SCORED]
    if training.pretrained is not None and (file := Path(training.pretrained)).is_file():
        parts.append(hashlib.sha256(file.read_bytes()).hexdigest())
    return hashlib.sha256(json.dumps([METRICS, parts], sort_keys=True).encode()).hexdigest()


class _Terminated(TerminationSignal):
    """Ends a thread as a signal ends the main one, so that its run is cancelled with the sweep and not crashed."""

    def __init__(self) -> None:
        super().__init__(signal.SIGTERM)


@contextlib.contextmanager
def _interruptible_pool(workers: int) -> Iterator[Executor]:
    """Open a pool of threads that ends what it runs when the main thread is interrupted, rather than wait for it."""
    threads: list[int] = []
    pool = ThreadPoolExecutor(workers, initializer=lambda: threads.append(threading.get_ident()))
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        kind = _Terminated if isinstance(error, TerminationSignal) else KeyboardInterrupt
        for thread in threads:  # each closes its runs as killed
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))
        raise
    finally:
        pool.shutdown()


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(sweep))
