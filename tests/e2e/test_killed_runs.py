"""A run from the shell that is killed while it trains, killed again while it writes reports, and gone on with."""

import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from pydantic import TypeAdapter

from flows.support.shell import parse
from models.classifier.preprocessing import Normalization
from models.classifier.training import train
from models.classifier.training_settings import TrainingSettings
from models.classifier.weights import load
from models.notices import RANDOM_WEIGHTS_NOTICE
from models.report_generation.generator import Row
from models.report_generation.medgemma.generator import MedGemmaGenerator
from models.report_generation.medgemma.source import resolve_source
from tasks.records.classification import ClassifierRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import RequestsRecord
from tasks.storage.store import Store
from tests.e2e.test_processes import _end, _start
from tests.server_logs import EMBEDDED, unexpected
from tests.support import smallest
from tests.support.medgemma_twin import write_checkpoint
from tests.support.short_reports import short_reports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def _shards(outputs):
    return {path.name: path.stat().st_mtime_ns for path in (outputs / "store" / "jobs").glob("*/shards/*.json")}


def _epoch(checkpoints):
    """The epoch that is kept, which takes the place of the one before."""
    kept = checkpoints.glob("train-classifier/*/epoch-*.safetensors")
    return max((int(path.name.split("-")[1]) for path in kept), default=0)


def _kept_rows(outputs):
    kept = [
        row
        for path in (outputs / "store" / "jobs").glob("*/shards/*.json")
        for row in json.loads(path.read_text())
    ]  # fmt: skip
    assert len(kept) == len({row["row_id"] for row in kept}), "a row was written twice"
    return {row["row_id"]: (row["text"], row["score"]) for row in kept}


def _result(outputs, step, kind):
    (file,) = (outputs / "results" / step).iterdir()
    return kind.model_validate(json.loads(json.loads(file.read_text())["result"])["data"])


def _trained_at_once(outputs, training):
    """Train what the run was asked for again, in one go and without the workflow."""
    data = _result(outputs, "prepare-dataset", DatasetRecord)
    arrays = Store(str(outputs / "store")).get_arrays(data.splits)
    images = np.delete(arrays["train_images"], data.excluded_train, axis=0)
    labels = np.delete(arrays["train_labels"], data.excluded_train)
    settings = TrainingSettings(**training.model_dump())
    validation = arrays["val_images"], arrays["val_labels"]
    return train(images, labels, *validation, Normalization.from_images(images), settings).weights


def _written_at_once(outputs, checkpoint):
    """Write what the run was asked for again, in one go and without the workflow."""
    record = _result(outputs, "plan-reports", RequestsRecord)
    store = Store(str(outputs / "store"))
    rows = {row.id: row for row in TypeAdapter(list[Row]).validate_python(store.get_json(record.requests))}
    found = record.generator
    generator = MedGemmaGenerator(
        resolve_source(str(checkpoint), None, None), "fp32", "cpu", found.strategies, found.image_first, 64, "", "",
        False, conventions=found.conventions,
    )  # fmt: skip
    batches = generator.write(list(rows.values()), store.get_arrays(record.images)["images"])
    return {written.row_id: (written.text, written.score) for batch in batches for written in batch}


def _killed(words, outputs, data, when):
    """Start the run and kill it as soon as something is so."""
    process = _start("tests.support.short_reports", words, outputs, data)
    deadline = time.monotonic() + 1200
    while not when():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    output, _ = process.communicate()
    assert not unexpected(output, EMBEDDED)
    return output


def test_a_run_that_is_killed_twice_ends_as_one_that_never_was(tmp_path, official_file):
    checkpoint, outputs = write_checkpoint(tmp_path / "checkpoint"), tmp_path / "outputs"
    data = official_file.parent
    words = smallest.words(
        "dataset", "training", "evaluation", "reports", dataset__limit=160, training__epochs=6,
        reports__generator="medgemma", reports__model=checkpoint, reports__device="cpu", reports__at_once=2,
        reports__batch_size=64, reports__strategies=["concise", "structured"], reports__controls=["blank"],
    )  # fmt: skip
    checkpoints, results = outputs / "store" / "checkpoints", outputs / "results"

    _killed(words, outputs, data, lambda: _epoch(checkpoints) >= 2)
    assert not (results / "train-classifier").exists()
    assert _tracked(outputs, "classification") == ["RUNNING"]  # nobody was left to say otherwise

    printed = _killed(words, outputs, data, lambda: len(_shards(outputs)) >= 2)
    assert "epoch 1 of 6" not in printed
    assert "epoch 2 of 6" not in printed
    assert "epoch 6 of 6" in printed
    assert not list(checkpoints.glob("train-classifier/*/*"))
    assert not (results / "write-reports").exists()
    before = _shards(outputs)

    printed = _end(_start("tests.support.short_reports", words, outputs, data))
    assert "of 6" not in printed
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

    training = parse(short_reports, words)["training"]
    classifier = _result(outputs, "train-classifier", ClassifierRecord)
    trained, _ = load(Store(str(outputs / "store")).get(classifier.weights))
    for name, weights in _trained_at_once(outputs, training).items():
        assert torch.equal(trained.state_dict()[name], weights), name

    assert _tracked(outputs, "classification") == ["KILLED", "FINISHED", "FINISHED"]
    assert _tracked(outputs, "reports") == ["KILLED", "FINISHED"]
    client = MlflowClient(_uri(outputs))
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    assert len(client.search_traces(locations=[experiment], max_results=500)) == len(kept)
    curve = client.get_metric_history(classifier.run_id, "train/loss")
    assert [metric.step for metric in curve] == [1, 2, 3, 4, 5, 6]


def _uri(outputs):
    return f"sqlite:///{outputs / 'mlflow.db'}"


def _tracked(outputs, stage):
    """How the MLflow runs of a stage stand, in the order of their starts."""
    client = MlflowClient(_uri(outputs))
    experiment = client.get_experiment_by_name(f"pneumonia/{stage}").experiment_id
    return [run.info.status for run in client.search_runs([experiment], order_by=["attributes.start_time"])]
