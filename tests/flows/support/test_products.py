"""The end of a stage, in a real flow run on a real SQLite store."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from prefect import flow
from prefect.runtime import flow_run

from flows.support import products
from flows.support.opening import TITLES
from flows.support.products import Products, publish, stage_run
from tasks.parameters.dataset import DatasetParameters
from tasks.records.base import DocumentRecord, FindingsRecord
from tasks.records.data import DatasetRecord
from tasks.shared.markdown import document, picture, table
from tasks.storage.store import Store
from tasks.tracking import runs
from tests.support.pages import artifacts_of, page_of

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


def _in_stage(action, stage="classification"):
    """Run an action within a stage; give the ids of its flow run and of its MLflow run."""
    seen = []

    @flow(name="staged")
    def staged():
        with stage_run(stage, {"dataset": DatasetParameters()}) as begun:
            seen.extend((str(flow_run.id), begun.run.run_id))
            action(begun)

    with contextlib.suppress(ArithmeticError):
        staged()
    return seen


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
    return Products(_dataset(), **({"document": report} | fields | other))


def _dataset():
    empty = Store().put_json({})
    return DatasetRecord(
        name="pneumoniamnist", kind="official", size=28, channels=1, labels=("normal", "pneumonia"),
        licence="CC BY 4.0", md5="m", sha256="s", splits=empty, audit=empty, audit_table=empty,
        counts={"train": 3, "test": 2}, excluded_train=(), phantoms=False,
    )  # fmt: skip


def test_all_that_a_stage_has_produced_is_in_its_run_and_on_the_page_of_its_flow_run(tmp_path_factory):
    flow_run_id, run_id = _in_stage(lambda stage: publish(stage, _products()))
    client = runs.new_client()
    folder = Path(client.download_artifacts(run_id, "", str(tmp_path_factory.mktemp("downloaded"))))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {file for file in files if not file.startswith("images/")} == {
        "figures/roc_curve.png", "figures/shift.png", "findings/trust.json", "model/weights.bin", "report.html",
        "report.md", "reports.json",
    }  # fmt: skip
    assert {Path(file).name.split("+")[0] for file in files if file.startswith("images/")} == {
        "shift", "roc_curve",
    }  # fmt: skip
    page = (folder / "report.html").read_text()
    order = ["<h1>Report</h1>", "<strong>What not to conclude:</strong>", 'alt="shift"', 'alt="roc curve"']
    assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)
    assert "artifacts/report.html?" in client.get_run(run_id).data.tags["mlflow.note.content"]
    logged = client.get_run(run_id).data.metrics
    assert {name: value for name, value in logged.items() if not name.startswith("system/")} == {
        "test/auc": 0.5, "trust/a": 0.25,
    }  # fmt: skip
    assert json.loads((folder / "reports.json").read_text()) == {"columns": ["row"], "data": [[1]]}
    page = page_of(flow_run_id)
    assert page.startswith("# Report")
    order = ["3 train, 2 test images", run_id, "![shift](data:image/png", "![roc curve]", "| Test AUC | 0.500 |"]
    assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)


def test_figures_stand_where_the_report_has_them_and_links_lead_to_the_tracker():
    text = document(
        "Report",
        [
            ("First", picture("shift", "A shift.") + "| a | table |"),
            (
                "Second",
                picture("never_drawn", "None.") + picture("other", "Not shown before.") + "[pages](cases/index.html)",
            ),
        ],
        phantoms=False,
    )
    report = DocumentRecord(document=Store().put(text.encode(), "text/markdown"))
    flow_run_id, run_id = _in_stage(
        lambda stage: publish(stage, _products(document=report, figures={"other": _png()}, shown=("shift",)))
    )
    shown = page_of(flow_run_id)
    assert shown.count("![shift](data:image/png;base64,") == 1
    assert "![shift](data:image/png;base64," in shown.split("*A shift.*")[0]
    assert shown.index("*A shift.*") < shown.index("## First") < shown.index("| a | table |") < shown.index("## Second")
    assert shown.index("## Second") < shown.index("![other](data:image/png") < shown.index("*Not shown before.*")
    assert "None." not in shown and "Further figures" not in shown
    assert f"/runs/{run_id}/artifacts/cases/index.html?" in shown
    with open(runs.new_client().download_artifacts(run_id, "report.md"), encoding="utf-8") as file:
        logged = file.read()
    assert "(figures/shift.png)" in logged and "(figures/other.png)" in logged
    assert "never_drawn" not in logged and "None." not in logged


def test_a_page_has_the_first_sections_that_say_something_and_leads_to_all():
    sections = [("Seen above", picture("shift", "A shift.")), *((f"Section {place}", "Text.") for place in range(5))]
    text = document("Report", [*sections, ("Last", picture("other", "Another.") + "Text.")], phantoms=False)
    report = DocumentRecord(document=Store().put(text.encode(), "text/markdown"))
    made = _products(
        document=report, figures={"second": _png(), "other": _png()}, shown=("shift", "second", "other"),
        pages={"every case": "all.html"},
    )  # fmt: skip
    flow_run_id, run_id = _in_stage(lambda stage: publish(stage, made))
    page, at = page_of(flow_run_id), f"/runs/{run_id}/artifacts"
    headings = [line for line in page.splitlines() if line.startswith("## ") and "Steps" not in line]
    assert headings == ["## Results in short", "## Section 0", "## Section 1", "## Section 2"]
    assert page.index("![shift]") < page.index("![second]") < page.index(headings[0])
    assert page.count("data:image/png") == 2
    assert "): Section 3, Section 4, Last." in page.partition("Further sections are in [the report](")[2]
    assert "Further figures are in the MLflow run: other." in page
    opening = page.partition("![shift]")[0]
    assert all(f"{number}. **{title}** " in opening for number, title in enumerate(TITLES, 1))
    assert f"{at}/report.html?" in opening and f"{at}/all.html?" in opening
    whole = Path(runs.new_client().download_artifacts(run_id, "report.html")).read_text()
    assert all(f">{heading}<" in whole for heading, _ in sections[1:])


def test_another_place_is_one_function(monkeypatch):
    told = []
    found = _products().findings[0].model_copy(update={"figures": {}})
    monkeypatch.setattr(products, "PLACES", (lambda stage, found: told.append((stage.run.run_id, found.all_files())),))
    _, run_id = _in_stage(lambda stage: publish(stage, _products(findings=[found], figures={}, files={})))
    assert [(run, sorted(files)) for run, files in told] == [(run_id, ["findings/trust.json"])]
    assert {file.path for file in runs.new_client().list_artifacts(run_id)} == {"report.html", "report.md"}


def test_a_stage_without_figures_and_findings_ends_too():
    _, run_id = _in_stage(lambda stage: publish(stage, _products(findings=[], figures={}, tables={}, shown=())))
    assert {file.path for file in runs.new_client().list_artifacts(run_id)} == {"model", "report.html", "report.md"}


def test_a_page_leads_to_the_tracker_from_the_start_and_says_that_a_run_ended_early():
    seen = []

    def fail(stage):
        (artifact,) = artifacts_of(str(flow_run.id))
        seen.append((artifact.description, stage.run.run_id in artifact.data))
        raise ArithmeticError

    flow_run_id, run_id = _in_stage(fail)
    (artifact,) = artifacts_of(flow_run_id)
    seen.append((artifact.description, run_id in artifact.data))
    assert seen == [("The run is under way.", True), ("The run ended early: its state says why.", True)]


def test_the_card_says_the_first_figures_and_what_became_of_the_product():
    def end(stage):
        measured = _products(metrics={"test/auc": 0.75, "test/auc_ci_low": 0.5, "test/auc_ci_high": 1.0})
        publish(stage, measured, lambda: "Version 3 is champion. It is <b>better</b>.")

    flow_run_id, _ = _in_stage(end)
    (artifact,) = artifacts_of(flow_run_id)
    assert artifact.description == (
        "Test AUC **0.750** (0.500 – 1.000) · Version 3 is champion. It is &lt;b&gt;better&lt;/b&gt;."
    )
    third = artifact.data.partition("\n3. ")[2].partition("\n4. ")[0]
    assert third == (
        "**Better than the champion, and than chance?** Not told from chance: test AUC (0.500). Version 3 is champion. "
        "It is &lt;b&gt;better&lt;/b&gt;."
    )


def test_where_nothing_could_be_decided_there_is_a_report_all_the_same():
    def fail():
        raise ArithmeticError

    flow_run_id, run_id = _in_stage(lambda stage: publish(stage, _products(), fail))
    with open(runs.new_client().download_artifacts(run_id, "report.md"), encoding="utf-8") as file:
        assert "It was not compared with the champion." in file.read()
    assert page_of(flow_run_id).startswith("# Report")


def test_long_tables_are_folded_where_they_can_be():
    rows = table(["name", "value"], [["row", number] for number in range(9)])
    text = document("Report", [("Long", rows)], phantoms=False).encode()
    report = DocumentRecord(document=Store().put(text, "text/markdown"))
    flow_run_id, run_id = _in_stage(lambda stage: publish(stage, _products(document=report)))
    files = {name: Path(runs.new_client().download_artifacts(run_id, f"report.{name}")) for name in ("html", "md")}
    assert "<details><summary>9 rows: name, value</summary>\n\n| name | value |" in page_of(flow_run_id)
    assert "<details><summary>9 rows: name, value</summary>\n<table>" in files["html"].read_text()
    plain = files["md"].read_text()  # which MLflow shows without HTML and pictures
    assert "<details>" not in plain and f"/runs/{run_id}/artifacts/report.html?" in plain.partition("## Long")[0]


def test_what_is_too_large_for_an_event_is_named_instead(monkeypatch):
    monkeypatch.setattr("flows.support.page._MOST_BYTES", 10)
    flow_run_id, _ = _in_stage(lambda stage: publish(stage, _products()))
    assert "Further figures are in the MLflow run: shift, roc curve." in page_of(flow_run_id)


def test_a_figure_for_which_the_page_has_no_place_is_named():
    five = {f"figure_{number}": _png() for number in range(5)}  # of a report that has no sections for them
    flow_run_id, _ = _in_stage(lambda stage: publish(stage, _products(findings=[], figures=five, shown=tuple(five))))
    page = page_of(flow_run_id)
    assert page.count("data:image/png") == 4
    assert "Further figures are in the MLflow run: figure 4." in page
