"""With a real MLflow database and files."""

import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from models.errors import InputError
from tasks.tracking.old_runs import old_runs, remove_runs
from tasks.tracking.runs import new_client

DAY = 86_400


@pytest.fixture
def client(outputs):
    return new_client()


@pytest.fixture
def ended(client):
    """Makes a run that ended some days ago."""
    experiment = client.get_experiment_by_name("pneumonia/classification").experiment_id

    def make(days, parent=None, status="FINISHED"):
        tags = {"mlflow.parentRunId": parent} if parent else {}
        run = client.create_run(experiment, tags=tags).info
        client.log_text(run.run_id, "a file", "a.txt")
        client.log_metric(run.run_id, "test/auc", 0.9)
        if status:
            client.set_terminated(run.run_id, status, end_time=int((time.time() - days * DAY) * 1000))
        return run.run_id

    return make


def test_old_runs_leave_with_their_kin_and_what_is_needed_stays(client, ended):
    alone, killed = ended(100), ended(100, status="KILLED")
    young, running = ended(10), ended(100, status=None)
    parent = ended(100)
    child = ended(100, parent)
    still_young = ended(100)
    ended(10, still_young)
    whole = ended(100)
    registered = ended(100, whole)
    client.create_registered_model("pneumonia-classifier")
    client.create_model_version("pneumonia-classifier", client.get_run(registered).info.artifact_uri, registered)
    published = ended(100)
    found = old_runs(60, [f'{{"run_id": "{published}"}}'])
    assert set(found) == {alone, killed, parent, child}

    places = {
        run_id: Path(unquote(urlsplit(client.get_run(run_id).info.artifact_uri).path), "a.txt")
        for run_id in (*found, young, running, registered, published)
    }
    assert all(place.is_file() for place in places.values())
    remove_runs(found)
    assert {run_id for run_id, place in places.items() if not place.exists()} == set(found)
    left = client.search_runs(
        [client.get_experiment_by_name("pneumonia/classification").experiment_id], run_view_type=3
    )
    assert len(left) == 7
    assert old_runs(60, [published]) == []
    assert client.get_model_version("pneumonia-classifier", "1").run_id == registered


def test_a_server_removes_its_own(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    with pytest.raises(InputError, match="on a server, `mlflow gc`"):
        old_runs(60, [])
