"""Work in parts on a real Dask cluster of two processes: the same digests as on threads, and hits stay at home."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from distributed import Client, LocalCluster
from prefect import flow
from prefect.runtime import flow_run

from flows.reports import report
from flows.support.runners import local_cluster, require_workers, task_runner
from flows.support.shell import parse
from flows.sweep import sweep
from flows.trials import run_trial
from models.classifier.classifiers import build_classifier
from models.classifier.weights import dump
from models.errors import InputError
from tasks.classification.steps.evaluation import calibrate_classifier, evaluate_classifier
from tasks.classification.steps.explanation import explain_classifier
from tasks.classification.steps.training import predict_classifier
from tasks.classification.sweep.leaderboard import TrialResult
from tasks.data.steps import locate_source, prepare_dataset
from tasks.execution.caching import outcomes
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.records.classification import ClassificationResult, ClassifierRecord, TrialRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, RetrievalResult
from tasks.reports.steps.planning import locate_generator
from tasks.retrieval.steps.encoding import embed_images, own_encoder
from tasks.storage.store import Store
from tests.support.ports import free_port
from tests.support.short_reports import neighbours_of
from tests.support.smallest import words

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800), pytest.mark.usefixtures("prefect_server")]
CHECKOUT = Path(__file__).parents[2]  # not from tests.conftest: what the workers import must leave OUTPUTS alone
CARD = {
    "architecture": "compact28", "classes": 2, "channels": 1, "image_size": 28,
    "normalization": {"mean": [0.57], "std": [0.17]},
}  # fmt: skip
SHARD = 40
SHARDS = 12  # of three splits with 160 images each


@pytest.fixture(scope="module", autouse=True)
def _data(official_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA", str(official_file.parent))
        yield


@pytest.fixture(scope="module")
def cluster(prefect_server, shared_outputs, start_cluster) -> LocalCluster:
    """Two processes that find store, results and server where this one has them."""
    return start_cluster(**local_cluster(ExecutionParameters(workers=2)))


@pytest.fixture
def dask(cluster) -> ExecutionParameters:
    return ExecutionParameters(runner="dask", scheduler=cluster.scheduler_address)


@pytest.fixture
def client(cluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as client:
        client.get_task_stream()  # the scheduler notes tasks from the first question on
        yield client


def _log_an_error() -> None:
    logging.getLogger("distributed.worker").error("that nobody expects")


@pytest.mark.parametrize("ask", [Client.run, Client.run_on_scheduler], ids=["workers", "scheduler"])
def test_what_workers_and_scheduler_log_is_read(client, server_logs, ask):
    ask(client, _log_an_error)
    with pytest.raises(AssertionError, match=r"dask\.log:\n.* - ERROR - that nobody expects"):
        server_logs.check()


def _data_and_classifier() -> tuple[DatasetRecord, ClassifierRecord]:
    """Take a network of random weights: what is compared needs no training."""
    data = prepare_dataset(locate_source(DatasetParameters()), 160)
    weights = Store().put(dump(build_classifier("compact28").eval(), CARD), "application/x-safetensors")
    return data, ClassifierRecord(architecture="compact28", weights=weights, best_epoch=1, dataset_sha256=data.sha256)


def _embed(execution: ExecutionParameters) -> tuple[EmbeddingsRecord, list[bool]]:
    """Embed all images; return which shards were hits, too."""

    @flow(task_runner=task_runner(execution))
    @in_plain_words
    def embed() -> tuple[EmbeddingsRecord, str]:
        data, classifier = _data_and_classifier()
        return embed_images(data, own_encoder(data, classifier, "classifier"), size=SHARD), str(flow_run.id)

    embeddings, flow_run_id = embed()
    return embeddings, [step.hit for step in outcomes([flow_run_id]) if step.step == "embed-shard"]


def _sent(client: Client, prefix: str) -> list[str]:
    """Name the worker of each task of this name that the cluster has finished so far."""
    return [task["worker"] for task in client.get_task_stream() if task["key"].startswith(prefix)]


def _forget(outputs: Path, step: str) -> None:
    shutil.rmtree(outputs / "results" / step)


def test_shards_have_the_same_digests_on_threads_and_on_two_processes(shared_outputs, dask, client):
    expected, hits = _embed(ExecutionParameters(runner="threads"))
    assert hits == [False] * SHARDS
    _forget(shared_outputs, "embed-shard")
    embeddings, hits = _embed(dask)
    assert hits == [False] * SHARDS
    assert embeddings == expected
    workers = _sent(client, "embed_shard")
    assert len(workers) == SHARDS
    assert len(set(workers)) == 2


def test_what_is_kept_does_not_travel_and_what_is_not_does(shared_outputs, dask, client):
    expected, _ = _embed(dask)
    before = len(_sent(client, "embed_shard"))
    again, hits = _embed(dask)
    assert again == expected
    assert hits == [True] * SHARDS
    assert len(_sent(client, "embed_shard")) == before
    next((shared_outputs / "results" / "embed-shard").iterdir()).unlink()
    again, hits = _embed(dask)
    assert again == expected
    assert sorted(hits) == [False] + [True] * (SHARDS - 1)
    assert len(_sent(client, "embed_shard")) == before + 1


def _evidence() -> tuple[ClassificationResult, RetrievalResult]:
    """Gather what reports are written from, without the figures and scores that they do not need."""

    @flow
    def gather() -> tuple[ClassificationResult, RetrievalResult]:
        data, classifier = _data_and_classifier()
        predictions = predict_classifier(data, classifier)
        calibration = calibrate_classifier(predictions, "fixed")
        evaluation = evaluate_classifier(predictions, calibration, 100)
        explanation = explain_classifier(data, classifier, predictions, calibration)
        retrieved = neighbours_of(data, classifier)
        classified = ClassificationResult(
            dataset=data, classifier=classifier, predictions=predictions, calibration=calibration,
            evaluation=evaluation, explanation=explanation, run=retrieved.run,
            flow_run_id=str(flow_run.id),
        )  # fmt: skip
        return classified, retrieved

    return gather()


def test_report_batches_say_the_same_on_threads_and_on_two_processes(shared_outputs, dask, client):
    form = ReportParameters(cases=6, batch_size=12, controlled_cases=3)
    wanted = (*_evidence(), locate_generator(form), form)
    expected = report.with_options(task_runner=task_runner(ExecutionParameters()))(*wanted)
    _forget(shared_outputs, "write-reports")
    shutil.rmtree(shared_outputs / "store" / "jobs")  # each row is kept as soon as it is written
    found = report.with_options(task_runner=task_runner(dask))(*wanted)
    assert found.answers == expected.answers
    assert {step.step for step in outcomes([found.flow_run_id]) if not step.hit} == {"write-reports"}
    assert len(_sent(client, "write_reports")) == 3


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As a worker computes: sums of other threads come in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_sweep_scores_the_same_here_and_on_two_processes(shared_outputs, dask, client, one_thread):
    forms = parse(sweep, words("dataset", "training", "evaluation", sweep__seeds=[0, 1]))

    @flow
    def train_here() -> list[dict[str, float]]:
        dataset, training, evaluation = (forms[name] for name in ("dataset", "training", "evaluation"))
        data = prepare_dataset(locate_source(dataset), dataset.limit)
        trials = (training.model_copy(update={"seed": seed}) for seed in (0, 1))
        return [_scores(run_trial(data, None, dataset, trial, evaluation)) for trial in trials]

    expected = train_here()
    _forget(shared_outputs, "run-trial")
    _forget(shared_outputs, "train-classifier")
    found = sweep(**forms | {"execution": dask})
    assert [_scores(result) for result in found["results"]] == expected
    assert {result.state for result in found["results"]} == {"run"}
    assert len(set(_sent(client, "_run_elsewhere"))) == 2
    again = sweep(**forms | {"execution": dask})
    assert {result.state for result in again["results"]} == {"kept"}
    assert len(_sent(client, "_run_elsewhere")) == 2


def _scores(result: TrialRecord | TrialResult) -> dict[str, float]:
    return {name: value for name, value in result.metrics.items() if name != "train/seconds"}


@contextlib.contextmanager
def _started(log: Path, folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command of Dask as the guide does, and end it."""
    here = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    command, server = (
        [sys.executable, "-m", "dask", *words, *here],
        os.environ | local_cluster(ExecutionParameters())["env"],
    )
    with log.open("ab") as file:
        process = subprocess.Popen(command, cwd=folder, env=server, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(300)


def _at_work(client: Client, step: str) -> str:
    """Wait until a worker is at work on a step; return its address."""
    from tests.e2e.services import wait_for  # which imports tests.conftest

    busy = wait_for(lambda: [place for place, keys in client.processing().items() if step in str(keys)], pause=0.01)
    return str(busy[0])


def test_parts_of_a_worker_that_is_killed_go_to_another(shared_outputs, dask, client, server_logs):
    expected, _ = _embed(ExecutionParameters(runner="threads"))
    _forget(shared_outputs, "embed-shard")

    def kill() -> None:
        worker = _at_work(client, "embed_shard")
        os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)

    with ThreadPoolExecutor() as pool:
        killed = pool.submit(kill)
        embeddings, hits = _embed(dask)
        killed.result()
    assert embeddings == expected
    assert hits == [False] * SHARDS  # each noted once


def test_a_scheduler_started_by_hand_needs_workers_that_run_in_the_projects_folder(
    shared_outputs, tmp_path, server_logs
):
    from tests.e2e.services import wait_for  # which imports tests.conftest

    log = tmp_path / "dask.log"
    server_logs.watch(log, "a Dask worker is elsewhere", "a stranger knocked")
    port = free_port()
    form = ExecutionParameters(runner="dask", scheduler=f"tcp://127.0.0.1:{port}")
    with (
        _started(log, CHECKOUT, "scheduler", "--port", str(port)),
        Client(form.scheduler, timeout=300, set_as_default=False) as client,
        _started(log, CHECKOUT, "worker", form.scheduler),
    ):
        with _started(log, tmp_path, "worker", form.scheduler):
            client.wait_for_workers(2, timeout=300)
            with pytest.raises(InputError, match=f"{form.scheduler}: its workers cannot import tasks; start"):
                require_workers(form)
        wait_for(lambda: len(client.scheduler_info()["workers"]) == 1)
        require_workers(form)


def test_a_run_whose_scheduler_is_gone_says_so_and_the_next_one_goes_on(shared_outputs, tmp_path, server_logs):
    from tests.e2e.services import wait_for  # which imports tests.conftest

    expected, _ = _embed(ExecutionParameters(runner="threads"))
    _forget(shared_outputs, "embed-shard")
    log, finished = tmp_path / "dask.log", shared_outputs / "results" / "embed-shard"
    server_logs.watch(log, "a Dask worker ends")
    for place in server_logs.watched.keys() - {log}:  # what the client of this process says; no test comes after
        if place.name == log.name:
            server_logs.watch(place, "a Dask scheduler is gone")
    port = free_port()
    form = ExecutionParameters(runner="dask", scheduler=f"tcp://127.0.0.1:{port}")
    with (
        _started(log, CHECKOUT, "scheduler", "--port", str(port)) as scheduler,
        _started(log, CHECKOUT, "worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1"),
    ):
        with Client(form.scheduler, timeout=300, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=300)

        def kill() -> None:
            wait_for(lambda: list(finished.glob("*")), pause=0.01)
            scheduler.kill()

        with ThreadPoolExecutor() as pool:
            killed = pool.submit(kill)
            with pytest.raises(InputError, match=r"^The scheduler of the Dask cluster is gone, or .*: start it anew; "):
                _embed(form)
            killed.result()
    kept = len(list(finished.iterdir()))
    embeddings, hits = _embed(ExecutionParameters(runner="threads"))
    assert embeddings == expected
    assert 0 < sum(hits) == kept < SHARDS
