"""Databases of earlier versions, as their own migrations left them, with a few rows."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest

from deployments.local.upgrade import upgrade
from models.errors import InputError
from tasks.storage.process_identity import process_identity
from tasks.tracking import runs
from tests.conftest import CHECKOUT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
EARLIER = Path(__file__).parent / "earlier_databases"
RUN = "a" * 32


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """A folder of products with both databases of an earlier version."""
    outputs = tmp_path / "outputs"
    (outputs / "prefect").mkdir(parents=True)
    for name, place in (("prefect", outputs / "prefect" / "prefect.db"), ("mlflow", outputs / "mlflow.db")):
        with contextlib.closing(sqlite3.connect(place)) as database:
            database.executescript((EARLIER / f"{name}.sql").read_text())
    monkeypatch.setenv("OUTPUTS", str(outputs))
    return outputs


def _upgrade(folder):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, "-m", "deployments.local.upgrade"],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )


def _rows(database, question):
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(question).fetchall()


def test_databases_of_earlier_versions_come_here_with_all_they_hold_after_a_backup(earlier, tmp_path):
    done = _upgrade(tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Backup: backups/outputs-")
    assert lines[1].startswith("The database of prefect went from 4ad4658cbefe to ")
    assert lines[2].startswith("The database of mlflow went from cc1f77228345 to ")

    flow_runs = "SELECT flow_run.name, state_type, parameters, flow.name FROM flow_run JOIN flow ON flow.id = flow_id"
    found = _rows(earlier / "prefect" / "prefect.db", flow_runs)
    assert found == [("a run of 2024", "COMPLETED", '{"k": 5}', "pipeline")]
    assert _rows(earlier / "prefect" / "prefect.db", "SELECT name, value FROM variable") == [
        ("pneumonia_drift_auc", 0.7)
    ]
    client = runs.new_client()
    run = client.get_run(RUN)
    assert (run.info.run_name, run.data.metrics, run.data.params) == (
        "a run of 2022", {"test/auc": 0.97}, {"training.seed": "3"},
    )  # fmt: skip
    assert run.info.artifact_uri == f"{(earlier / 'mlartifacts').as_uri()}/pneumonia/classification/{RUN}/artifacts"

    (archive,) = (tmp_path / "backups").iterdir()
    with zipfile.ZipFile(archive) as made:
        made.extract("outputs/mlflow.db", tmp_path / "before")
    version = _rows(tmp_path / "before" / "outputs" / "mlflow.db", "SELECT version_num FROM alembic_version")
    assert version == [("cc1f77228345",)]


def test_a_database_of_a_later_version_is_left_as_it_is(earlier, tmp_path):
    (earlier / "prefect" / "prefect.db").unlink()
    with contextlib.closing(sqlite3.connect(earlier / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    done = _upgrade(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: The database of mlflow could not be upgraded (")
    assert len(done.stderr.splitlines()) == 1
    assert _rows(earlier / "mlflow.db", "SELECT name FROM experiments") == [("pneumonia/classification",)]


def test_nothing_is_changed_while_the_services_are_up(earlier):
    me = psutil.Process()
    notes = {"processes": [{"name": "prefect", "pid": me.pid, "identity": process_identity(me.pid)}]}
    (earlier / "services.json").write_text(json.dumps(notes))
    with pytest.raises(InputError, match="The services are up: end them with `make down`, then upgrade"):
        upgrade()
    assert _rows(earlier / "mlflow.db", "SELECT version_num FROM alembic_version") == [("cc1f77228345",)]
