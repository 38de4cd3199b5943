"""Report batches of a language model as a person starts them: killed, resumed, repeated, refused."""

import json
import os
import signal
import time

import pytest
from mlflow import MlflowClient

from models.notices import RANDOM_WEIGHTS_NOTICE
from models.report_generation.medgemma.twin import write_checkpoint
from tests.e2e.test_processes import _end, _start

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def words(checkpoint):
    return [
        "--preset", "debug", "--reports.generator", "medgemma", "--reports.model", str(checkpoint),
        "--reports.device", "cpu", "--reports.at_once", "4", "--reports.controlled_cases", "1",
    ]  # fmt: skip


def _shards(outputs):
    return {path.name: path.stat().st_mtime_ns for path in (outputs / "store" / "jobs").glob("*/shards/*.json")}


def _rows(outputs):
    rows = {}
    for path in (outputs / "store" / "jobs").glob("*/shards/*.json"):
        for row in json.loads(path.read_text()):
            assert row["row_id"] not in rows, "a row was written twice"
            rows[row["row_id"]] = row["text"], row["score"]
    return rows


def _runs(outputs):
    client = MlflowClient(f"sqlite:///{outputs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    return client, client.search_runs([experiment], order_by=["attributes.start_time DESC"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, words, official_file):
    outputs = tmp_path_factory.mktemp("undisturbed")
    return outputs, _end(_start("reports", words, outputs, official_file.parent))


def test_a_killed_run_loses_at_most_the_batch_it_was_in(tmp_path, words, official_file, undisturbed):
    outputs = tmp_path / "outputs"
    for kept in (2, 5):  # killed twice, early and later
        process = _start("reports", words, outputs, official_file.parent)
        deadline = time.monotonic() + 300
        while len(_shards(outputs)) < kept:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        before = _shards(outputs)
    _end(_start("reports", words, outputs, official_file.parent))
    after = _shards(outputs)
    assert {name: after[name] for name in before} == before, "what was kept was written again"
    assert len(after) > len(before)
    assert _rows(outputs) == _rows(undisturbed[0])
    _, runs = _runs(outputs)
    assert [run.info.status for run in runs] == ["FINISHED", "KILLED", "KILLED"]


def test_the_run_says_that_the_weights_are_random(undisturbed):
    outputs, printed = undisturbed
    assert RANDOM_WEIGHTS_NOTICE in printed
    _, (run,) = _runs(outputs)
    assert run.data.tags["random_weights"] == RANDOM_WEIGHTS_NOTICE
    assert run.data.metrics["reports/count"] == 36  # six cases in six strategies
    assert run.data.metrics["reports/tokens_per_second"] > 0


def test_a_repeated_run_writes_nothing(undisturbed, words, official_file):
    outputs, _ = undisturbed
    before = _shards(outputs)
    _end(_start("reports", words, outputs, official_file.parent))
    assert _shards(outputs) == before


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["--reports.device", "cuda"], "GPU"),
        (["--reports.model", "nowhere/to/be/found"], "nowhere/to/be/found"),
        (["--reports.precision", "int3"], "precision"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_before_anything_is_computed(tmp_path, words, official_file, changed, told):
    process = _start("reports", [*words, *changed], tmp_path / "outputs", official_file.parent)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 2
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert told in errors[0]
    assert "Traceback" not in output
    assert not list((tmp_path / "outputs" / "results").glob("*/*")), "something was computed"
