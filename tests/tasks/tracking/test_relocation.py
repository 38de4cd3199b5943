"""A checkout that is moved, with real MLflow databases."""

import shutil

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from tasks.storage.locations import tracking_artifacts, tracking_uri
from tasks.tracking import runs
from tasks.tracking.relocation import follow_the_move


@pytest.fixture
def run(outputs):
    """A run with a file and a registered model version, in products that lie in a folder with a space."""
    runs.prepare()
    client = MlflowClient(tracking_uri())
    run = client.create_run(client.get_experiment_by_name("pneumonia/pipeline").experiment_id)
    client.log_text(run.info.run_id, "its file", "a.txt")
    client.create_registered_model("model")
    client.create_model_version("model", f"{run.info.artifact_uri}", run.info.run_id)
    return run


def _text(run):
    return open(download_artifacts(run_id=run.info.run_id, artifact_path="a.txt", tracking_uri=tracking_uri())).read()


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_what_was_moved_or_copied_is_found_and_written_where_it_is(tmp_path, outputs, run, monkeypatch, how):
    place = tmp_path / "another place"
    how(outputs, place)
    monkeypatch.setenv("OUTPUTS", str(place))
    runs.prepare()
    client = MlflowClient(tracking_uri())
    known = client.get_run(run.info.run_id)
    assert known.info.artifact_uri.startswith(tracking_artifacts())
    assert client.get_model_version("model", "1").source == known.info.artifact_uri
    (place / "mlartifacts").joinpath("pneumonia/pipeline", run.info.run_id, "artifacts", "a.txt").write_text("here")
    assert _text(run) == "here"
    for name in runs.EXPERIMENTS:
        assert client.get_experiment_by_name(name).artifact_location == f"{tracking_artifacts()}/{name}"
    assert follow_the_move() == 0


def test_files_that_are_kept_elsewhere_on_purpose_stay_there(tmp_path, outputs, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("MLFLOW_ARTIFACTS", elsewhere.as_uri())
    runs.prepare()
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pneumonia/pipeline")
    run = client.create_run(experiment.experiment_id)
    client.log_text(run.info.run_id, "its file", "a.txt")
    (elsewhere / "pneumonia").mkdir(exist_ok=True)
    for name in runs.EXPERIMENTS:
        (elsewhere / name).mkdir(exist_ok=True)
    monkeypatch.delenv("MLFLOW_ARTIFACTS")
    assert follow_the_move() == 0
    assert _text(run) == "its file"


def test_nothing_is_made_where_nothing_is(outputs):
    (outputs / "mlflow.db").unlink()
    assert follow_the_move() == 0
    assert not (outputs / "mlflow.db").exists()
