"""Runs as a person starts them: processes of their own, side by side, and refused."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.conftest import CHECKOUT
from tests.server_logs import EMBEDDED, unexpected
from tests.support.smallest import words

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def _environment(outputs: Path, data: Path | None) -> dict[str, str]:
    # What importing flows has set for this process must not reach the others.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return kept | {"OUTPUTS": str(outputs)} | ({"DATA": str(data)} if data else {})


def _start(module: str, options: list[str], outputs: Path, data: Path | None) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", module, *options],
        cwd=CHECKOUT,
        env=_environment(outputs, data),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _end(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output
    assert not unexpected(output, EMBEDDED)
    return output


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, official_file):
    """What two runs have left that were the first ones there, and started together."""
    outputs = tmp_path_factory.mktemp("pair") / "outputs"
    forms = words("dataset", "training", "evaluation")
    pair = [_start("flows.classification", forms, outputs, official_file.parent) for _ in range(2)]
    for process in pair:
        _end(process)
    return outputs


def test_two_runs_started_together_both_end_well(outputs):
    client = MlflowClient(f"sqlite:///{outputs / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert len(runs) == 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len({run.data.metrics["test/auc"] for run in runs}) == 1
    # What one computed the other used: they waited for each other's steps, and did none twice.
    assert len(list((outputs / "results" / "train-classifier").iterdir())) == 1
    ledger = [json.loads(path.read_text()) for path in (outputs / "store" / "ledger").glob("*/*.json")]
    ran = [entry["step"] for entry in ledger if not entry["hit"]]
    assert sorted(ran) == sorted({entry["step"] for entry in ledger})


def test_the_history_of_both_comes_back_from_a_backup_on_another_path(outputs, tmp_path):
    archive, place = tmp_path / "backup.zip", tmp_path / "another place"
    for where, asked in ((outputs, ["backup", str(archive)]), (place, ["restore", str(archive)])):
        _end(_start("deployments.local.backup", asked, where, None))
    with contextlib.closing(sqlite3.connect(place / "prefect" / "prefect.db")) as prefect:
        states = prefect.execute("SELECT state_type FROM flow_run").fetchall()
        (shown,) = prefect.execute("SELECT count(*) FROM artifact").fetchone()
    assert states == [("COMPLETED",), ("COMPLETED",)]
    assert shown > 0
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "pneumonia/classification"]
    assert experiment.artifact_location == f"{(place / 'mlartifacts').as_uri()}/pneumonia/classification"


def _computed(outputs: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (outputs / "results").glob("*/*")}


def test_a_damaged_dataset_is_one_sentence_and_exit_code_2(outputs, tmp_path, official_file):
    damaged = tmp_path / "data" / official_file.name
    damaged.parent.mkdir()
    damaged.write_bytes(official_file.read_bytes()[:-1000])
    before = _computed(outputs)
    process = _start("flows.pipeline", ["--preset", "quickstart"], outputs, damaged.parent)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 2
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "28209eda62fecd6e6a2d98b1501bb15f" in errors[0]  # the sum that was expected
    assert "Traceback" not in output
    assert _computed(outputs) == before != {}, "something was computed"


def test_a_folder_that_cannot_hold_the_products_is_one_sentence_and_exit_code_2(tmp_path):
    (tmp_path / "file").write_text("in the way")
    process = _start("flows.pipeline", ["--preset", "debug"], tmp_path / "file" / "outputs", None)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 2
    assert output.startswith(f"error: {tmp_path / 'file' / 'outputs'} cannot hold the products")
    assert len(output.splitlines()) == 1
