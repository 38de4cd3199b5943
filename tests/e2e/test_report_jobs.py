"""A language model's report batches as a person starts them: killed in the middle, and gone on with."""

import json
import os
import signal
import time

import pytest
from mlflow import MlflowClient
from pydantic import TypeAdapter

from models.notices import RANDOM_WEIGHTS_NOTICE
from models.report_generation.generator import Row
from models.report_generation.medgemma.generator import MedGemmaGenerator
from models.report_generation.medgemma.source import resolve_source
from models.report_generation.medgemma.twin import write_checkpoint
from tasks.records import RequestsRecord
from tasks.store import Store
from tests.e2e.test_processes import _end, _start

pytestmark = pytest.mark.e2e


def _shards(outputs):
    return {path.name: path.stat().st_mtime_ns for path in (outputs / "store" / "jobs").glob("*/shards/*.json")}


def _kept_rows(outputs):
    kept = [
        row
        for path in (outputs / "store" / "jobs").glob("*/shards/*.json")
        for row in json.loads(path.read_text())
    ]  # fmt: skip
    assert len(kept) == len({row["row_id"] for row in kept}), "a row was written twice"
    return {row["row_id"]: (row["text"], row["score"]) for row in kept}


def _written_at_once(outputs, checkpoint):
    """Write what the run was asked for again, in one go and without the workflow."""
    (result,) = (outputs / "results" / "plan-reports").iterdir()
    record = RequestsRecord.model_validate(json.loads(json.loads(result.read_text())["result"])["data"])
    store = Store(str(outputs / "store"))
    rows = {row.id: row for row in TypeAdapter(list[Row]).validate_python(store.get_json(record.requests))}
    found = record.generator
    author = MedGemmaGenerator(
        resolve_source(str(checkpoint), None, None), "fp32", "cpu", found.strategies, True, 64, "", "", False
    )
    batches = author.write(list(rows.values()), store.get_arrays(record.images)["images"])
    return {written.row_id: (written.text, written.score) for batch in batches for written in batch}


def test_a_killed_run_loses_the_batch_it_was_in_and_goes_on(tmp_path, official_file):
    checkpoint, outputs = write_checkpoint(tmp_path / "checkpoint"), tmp_path / "outputs"
    words = [
        "--preset", "debug", "--reports.generator", "medgemma", "--reports.model", str(checkpoint),
        "--reports.device", "cpu", "--reports.at_once", "2", "--reports.cases", "4", "--reports.batch_size", "4",
        "--reports.strategies", "concise,structured,context_aware", "--reports.controls", "blank,flipped",
    ]  # fmt: skip
    process = _start("reports", words, outputs, official_file.parent)
    deadline = time.monotonic() + 400
    while len(_shards(outputs)) < 3:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = _shards(outputs)
    assert not (outputs / "results" / "write-reports").exists()

    printed = _end(_start("reports", words, outputs, official_file.parent))
    after = _shards(outputs)
    assert len(after) > len(before)
    assert {name: after.get(name) for name in before} == before, "what was kept was written again"
    kept = _kept_rows(outputs)
    expected = _written_at_once(outputs, checkpoint)
    assert kept.keys() == expected.keys()
    assert [text for text, _ in kept.values()] == [expected[row_id][0] for row_id in kept]
    for row_id, (_, score) in kept.items():
        assert score == pytest.approx(expected[row_id][1], abs=1e-5)

    assert RANDOM_WEIGHTS_NOTICE in printed
    client = MlflowClient(f"sqlite:///{outputs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    resumed, killed = client.search_runs([experiment], order_by=["attributes.start_time DESC"])
    assert (resumed.info.status, killed.info.status) == ("FINISHED", "KILLED")
    assert len(client.search_traces(locations=[experiment], run_id=resumed.info.run_id, max_results=500)) == len(kept)
