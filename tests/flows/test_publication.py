"""What a trial, one's own file and a changed file do to the search and to the drift alert."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from prefect.testing.fixtures import asserting_events_worker  # noqa: F401  a fixture

from flows.retrieval import retrieval
from flows.search import search
from flows.support.shell import main, parse
from tasks.execution.events import DRIFT_FOUND
from tasks.retrieval.published.publication import find_published
from tasks.storage.locations import tracking_uri
from tasks.tracking import registry, runs
from tests.flows.small import FEW_IMAGES, LIMIT, RETRIEVAL

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def small(official_file):
    """The first images of each split, as one's own whole data."""
    with np.load(official_file) as arrays:
        return {name: values[:LIMIT] for name, values in arrays.items()}


@pytest.fixture(scope="module")
def file(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    np.savez(path, **small)
    return path


def _run(file, *words, limit="None"):
    given = [*RETRIEVAL, *FEW_IMAGES, "--dataset.path", str(file), "--dataset.limit", limit]
    found = retrieval(**parse(retrieval, [*given, *words]))
    return MlflowClient(tracking_uri()).get_run(found.run.run_id)


@pytest.fixture(scope="module")
def first(prefect_server, shared_outputs, file):
    return _run(file)


def _printed(capsys):
    capsys.readouterr()
    assert main(search, ["--search.index", "0"]) == 0
    return capsys.readouterr().out


def test_ones_own_whole_data_are_published_and_registered(first):
    assert first.data.tags["index.published"] == "true"
    assert first.data.tags["index.reason"] == "The first index of the encoder classifier over whole data."
    assert find_published("classifier").run_id == first.info.run_id
    (version,) = registry.versions("pneumonia-classifier")
    assert version.aliases == ("champion",)
    (entry,) = first.inputs.dataset_inputs
    assert entry.dataset.name == "pneumoniamnist (own file)"


def test_a_search_says_by_name_what_was_searched(first, capsys, shared_outputs):
    counts = json.loads(first.inputs.dataset_inputs[0].dataset.profile)["images"]
    told = (
        f"Searched: the index of the MLflow run {first.info.run_id}, published {{}}, over {3 * LIMIT} images of "
        f"pneumoniamnist (own file) ({LIMIT} train, {LIMIT} val, {LIMIT} test)."
    ).format(find_published("classifier").published_at)
    printed = _printed(capsys)
    assert told in printed
    folder = re.search("Gallery and JSON: (.*)", printed).group(1)
    with open(f"{folder}/result.json", encoding="utf-8") as file:
        index = json.load(file)["index"]
    assert (index["run_id"], index["dataset"]) == (first.info.run_id, "pneumoniamnist (own file)")
    assert index["images"] == counts == dict.fromkeys(SPLITS, LIMIT)
    with open(f"{folder}/report.md", encoding="utf-8") as file:
        assert f"| index of the MLflow run | {first.info.run_id} |" in file.read()
    with Image.open(f"{folder}/gallery.png") as gallery:
        assert gallery.height > 200


def test_a_trial_does_not_take_the_search_over_and_says_why(first, file, capsys, caplog):
    run = _run(file, "--retrieval.classifier", "champion", limit="32")
    assert run.data.tags["index.published"] == "false"
    assert "it is a trial: it holds only the first 32 images of each split" in run.data.tags["index.reason"]
    assert f"Index of the encoder classifier: {run.data.tags['index.reason']}" in caplog.text
    (entry,) = run.inputs.dataset_inputs
    assert entry.dataset.name == "pneumoniamnist (own file, first 32 of each split)"
    assert json.loads(entry.dataset.profile)["images"]["test"] <= 32
    assert first.info.run_id in _printed(capsys)
    page = Path(runs.new_client().download_artifacts(run.info.run_id, "history.html")).read_text()
    assert (
        f"on {entry.dataset.name}, this run included" in page
        and "/artifacts/history.html?" in run.data.tags["mlflow.note.content"]
    )


def test_drift_is_told_of_new_images_only_and_only_once(
    first,
    file,
    small,
    tmp_path,
    asserting_events_worker,  # noqa: F811
):
    def told(path, *words):
        run = _run(path, "--retrieval.classifier", "champion", *words)
        asserting_events_worker.wait_until_empty()
        seen = asserting_events_worker._client.pop_events()
        return run, [event.payload for event in seen if event.event == DRIFT_FOUND]

    unchanged, events = told(file)
    assert events == []
    assert not [name for name in unchanged.data.metrics if name.startswith("drift/new_")]
    assert "drift/domain_auc_normal" in unchanged.data.metrics  # test and train differ, but nothing has changed

    other_scanner = 255 - small["test_images"][:40]
    grown = small | {
        "test_images": np.concatenate([small["test_images"], other_scanner]),
        "test_labels": np.concatenate([small["test_labels"], small["test_labels"][:40]]),
    }
    np.savez(tmp_path / "grown.npz", **grown)
    changed, (payload,) = told(tmp_path / "grown.npz")
    new = {name: value for name, value in changed.data.metrics.items() if name.startswith("drift/new_")}
    assert new["drift/new_images"] == 40
    assert new.items() <= payload.items()
    drifted = payload["classes"].split(", ")
    assert drifted
    for name in ("normal", "pneumonia"):
        higher = new[f"drift/new_domain_auc_{name}"] > new[f"drift/new_threshold_{name}"]
        assert higher == (name in drifted)
    assert changed.data.tags["index.published"] == "true"  # over the same validation images, which it finds as well

    again, events = told(tmp_path / "grown.npz")  # the index has seen them now
    assert events == []
    assert again.data.tags["index.reason"] == f"It is the index in use already, built by the run {changed.info.run_id}."
