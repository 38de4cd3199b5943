"""What a run says of its dataset, on a real SQLite store, inside real flow runs."""

import json

import pytest

from flows.support.provenance import log_dataset
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store
from tasks.tracking import runs
from tests.tasks.tracking.test_runs import in_flow

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


def _dataset(**fields):
    file = Store().put(b"{}", "application/json")
    return DatasetRecord(
        **{
            "name": "pneumoniamnist", "kind": "official", "size": 28, "channels": 1, "labels": ("normal", "pneumonia"),
            "licence": "CC BY 4.0", "md5": "28209eda62fecd6e6a2d98b1501bb15f", "sha256": "5a", "splits": file,
            "audit": file, "audit_table": file, "counts": {"train": 3, "val": 2, "test": 1}, "excluded_train": (),
            "phantoms": False,
        }
        | fields
    )  # fmt: skip


@pytest.mark.parametrize("phantoms", [False, True])
def test_the_dataset_is_logged_with_its_digest_and_phantoms_are_said(phantoms):
    dataset = _dataset(phantoms=phantoms, kind="phantoms" if phantoms else "official")
    run_id = in_flow(lambda run: log_dataset(run, dataset, "training"))
    run = runs.new_client().get_run(run_id)
    (entry,) = run.inputs.dataset_inputs
    assert entry.dataset.digest == dataset.md5
    assert entry.dataset.name == ("pneumoniamnist (drawn phantoms)" if phantoms else "pneumoniamnist")
    assert ("phantoms" in run.data.tags) == phantoms
    assert "dataset.limit" not in run.data.tags


def test_what_mlflow_shows_of_a_dataset_is_true_of_each_run():
    """MLflow keeps one profile for a name and a digest, the first that it is told."""
    shown = []
    for limit, counts in ((None, [4708, 524, 624]), (160, [159, 159, 159]), (32, [31, 31, 31])):
        dataset = _dataset(limit=limit, counts=dict(zip(("train", "val", "test"), counts, strict=True)))
        run_id = in_flow(lambda run, dataset=dataset: log_dataset(run, dataset, "training"))
        run = runs.new_client().get_run(run_id)
        (entry,) = run.inputs.dataset_inputs
        assert list(json.loads(entry.dataset.profile)["images"].values()) == counts
        shown.append((entry.dataset.name, entry.dataset.digest, run.data.tags.get("dataset.limit")))
    assert shown == [
        ("pneumoniamnist", "28209eda62fecd6e6a2d98b1501bb15f", None),
        ("pneumoniamnist (first 160 of each split)", "28209eda62fecd6e6a2d98b1501b-160", "160"),
        ("pneumoniamnist (first 32 of each split)", "28209eda62fecd6e6a2d98b1501b-32", "32"),
    ]
    assert len(_dataset(limit=1_000_000).digest) == 36  # MLflow takes no longer one
