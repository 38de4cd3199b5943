"""The end of a stage, in a real flow run on a real SQLite store."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from prefect.artifacts import Artifact

from flows.support import products
from flows.support.products import Products, publish
from tasks.records.base import DocumentRecord, FindingsRecord
from tasks.shared.markdown import document, picture
from tasks.storage.store import Store
from tasks.tracking import runs
from tests.tasks.tracking.test_runs import in_flow

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


def _png():
    picture = io.BytesIO()
    Image.new("L", (4, 4)).save(picture, "PNG")
    return Store().put(picture.getvalue(), "image/png")


def _products(**other):
    found = FindingsRecord(
        name="trust", metrics={"trust/a": 0.25}, findings=Store().put_json([1]), figures={"shift": _png()}, sections=()
    )
    report = DocumentRecord(document=Store().put(b"# Report", "text/markdown"))
    fields = {
        "metrics": {"test/auc": 0.5}, "figures": {"roc_curve": _png()}, "findings": [found],
        "files": {"model/weights.bin": Store().put(b"w", "application/octet-stream")},
        "tables": {"reports.json": (["row"], [[1]])}, "shown": ("shift", "none such", "roc_curve"),
    }  # fmt: skip
    return Products("classification", **({"document": report} | fields | other))


def test_all_that_a_stage_has_produced_is_in_its_run_and_on_the_page_of_its_flow_run(tmp_path_factory):
    run_id = in_flow(lambda run: publish(run, _products()))
    client = runs.new_client()
    folder = Path(client.download_artifacts(run_id, "", str(tmp_path_factory.mktemp("downloaded"))))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {file for file in files if not file.startswith("images/")} == {
        "figures/roc_curve.png", "figures/shift.png", "findings/trust.json", "model/weights.bin", "report.md",
        "reports.json",
    }  # fmt: skip
    assert {Path(file).name.split("+")[0] for file in files if file.startswith("images/")} == {
        "figures~shift", "figures~roc_curve",
    }  # fmt: skip
    logged = client.get_run(run_id).data.metrics
    assert {name: value for name, value in logged.items() if not name.startswith("system/")} == {
        "test/auc": 0.5, "trust/a": 0.25,
    }  # fmt: skip
    assert json.loads((folder / "reports.json").read_text()) == {"columns": ["row"], "data": [[1]]}
    shown = Artifact.get("classification-report").data
    assert shown.startswith("# Report")
    assert 0 < shown.index("![shift](data:image/png") < shown.index("![roc_curve]")


def test_figures_stand_where_the_report_has_them_and_links_lead_to_the_tracker():
    text = document(
        "Report",
        [
            ("First", picture("shift", "A shift.") + "| a | table |"),
            ("Second", picture("never_drawn", "None.") + picture("other", "Not shown.") + "[pages](cases/index.html)"),
        ],
        phantoms=False,
    )
    report = DocumentRecord(document=Store().put(text.encode(), "text/markdown"))
    run_id = in_flow(lambda run: publish(run, _products(document=report, figures={"other": _png()}, shown=("shift",))))
    shown = Artifact.get("classification-report").data
    assert "![shift](data:image/png;base64," in shown.split("*A shift.*")[0]
    assert shown.index("*A shift.*") < shown.index("| a | table |") < shown.index("## Second")
    assert "None." not in shown and "Not shown." not in shown
    assert "Further figures are in the MLflow run: never drawn, other." not in shown
    assert "Further figures are in the MLflow run: other." in shown
    assert f"/runs/{run_id}/artifacts/cases/index.html?" in shown
    with open(runs.new_client().download_artifacts(run_id, "report.md"), encoding="utf-8") as file:
        logged = file.read()
    assert "(figures/shift.png)" in logged and "(figures/other.png)" in logged
    assert "never_drawn" not in logged and "None." not in logged


def test_another_place_is_one_function(monkeypatch):
    told = []
    monkeypatch.setattr(products, "PLACES", (lambda run, found: told.append((run.run_id, found.all_files())),))
    run_id = in_flow(lambda run: publish(run, _products(findings=[], figures={}, files={})))
    assert [(run, sorted(files)) for run, files in told] == [(run_id, ["report.md"])]
    assert runs.new_client().list_artifacts(run_id) == []


def test_a_stage_without_figures_and_findings_ends_too():
    run_id = in_flow(lambda run: publish(run, _products(findings=[], figures={}, tables={}, shown=())))
    assert {file.path for file in runs.new_client().list_artifacts(run_id)} == {"model", "report.md"}
