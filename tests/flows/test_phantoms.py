"""Without any dataset, the quickstart preset runs on drawn phantoms and says so everywhere."""

from pathlib import Path

import medmnist
import pytest
from mlflow import MlflowClient

from flows.pipeline import pipeline
from flows.search import search
from flows.support.shell import main, parse
from models.notices import PHANTOM_NOTICE
from tasks.storage.locations import tracking_uri
from tests.flows.small import RETRIEVAL

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


@pytest.fixture(autouse=True)
def _no_data(monkeypatch, tmp_path):
    for name in ("DATA", "MEDMNIST_ROOT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    # Whether or not this machine has a network, the download must not be what saves the run.
    monkeypatch.setitem(medmnist.INFO["pneumoniamnist"], "url", "http://127.0.0.1:9/pneumoniamnist.npz")


def test_quickstart_runs_on_phantoms_and_says_so(outputs, capsys):
    words = [
        *RETRIEVAL[2:], "--preset", "quickstart", "--training.epochs", "1", "--evaluation.explanation_draws", "2",
        "--reports.cases", "4", "--reports.controlled_cases", "1",
    ]  # fmt: skip
    summary = pipeline(**parse(pipeline, words))
    assert summary["phantoms"] == PHANTOM_NOTICE
    assert summary["dataset"]["kind"] == "phantoms"
    assert "DRAWN PHANTOMS" in capsys.readouterr().out
    client = MlflowClient(tracking_uri())
    for stage in ("classification", "retrieval", "reports"):
        run_id = summary[stage]["mlflow_run_id"]
        assert client.get_run(run_id).data.tags["phantoms"] == PHANTOM_NOTICE
        report = Path(client.download_artifacts(run_id, "report.md")).read_text()
        assert PHANTOM_NOTICE in report
    reports = client.download_artifacts(summary["reports"]["mlflow_run_id"], "reports.json")
    assert "phantom" in Path(reports).read_text().lower()
    tags = client.get_run(summary["classification"]["mlflow_run_id"]).data.tags
    assert tags["promotion.reason"] == "Not registered, since it is a trial: drawn phantoms are no data."
    assert client.search_registered_models() == []

    assert main(search, ["--search.index", "3"]) == 0  # where there are no other data, phantoms are searched
    printed = capsys.readouterr().out
    assert f"of the MLflow run {summary['retrieval']['mlflow_run_id']}, published" in printed
    assert "images of pneumoniamnist (drawn phantoms) (" in printed
    assert PHANTOM_NOTICE in printed
    (folder,) = outputs.glob("searches/*/*")
    assert PHANTOM_NOTICE in (folder / "report.md").read_text()
    assert '"phantoms": true' in (folder / "result.json").read_text()


def test_any_other_preset_stops_and_names_the_ways_to_supply_the_file(capsys):
    assert main(pipeline, ["--preset", "debug"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    for way in ("DATA=", "--dataset.path", "pneumoniamnist.npz"):
        assert way in error
