"""The reports flow with a real, small language model: what it leaves in MLflow and Prefect, and what runs again."""

import json
from pathlib import Path

import pytest
from fhir.resources.diagnosticreport import DiagnosticReport
from mlflow import MlflowClient

from flows.reports import reports
from flows.support.shell import main, parse
from models.notices import RANDOM_WEIGHTS_NOTICE
from models.report_generation.prompting import STRATEGIES
from tasks.execution.caching import outcomes
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tests.flows.small import FEW_IMAGES, LIMIT, RETRIEVAL
from tests.support.medgemma_twin import write_checkpoint
from tests.support.pages import artifacts_of

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module", autouse=True)
def _data(official_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA", str(official_file.parent))
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def words(checkpoint):
    return [
        *RETRIEVAL, *FEW_IMAGES, "--reports.generator", "medgemma", "--reports.model", str(checkpoint),
        "--reports.device", "cpu", "--reports.cases", "4", "--reports.controlled_cases", "1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def first(prefect_server, shared_outputs, _data, words):
    return reports(**parse(reports, [*words, "--reports.strategies", "concise,structured,context_aware"]))


def _executed(result):
    return {step.step for step in outcomes([result.flow_run_id]) if not step.hit}


def _row_ids():
    store = Store()
    found = [Path(path) for path in store.filesystem.glob(f"{store.root}/jobs/*/shards/*.json")]
    rows = [row["row_id"] for path in found for row in json.loads(path.read_text())]
    assert len(rows) == len(set(rows)), "a row was written twice"
    return set(rows)


def test_every_report_is_counted_and_the_weights_are_called_random(first):
    client = MlflowClient(tracking_uri())
    run = client.get_run(first.run.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["reports/count"] == 12
    assert 0 <= run.data.metrics["reports/parsed"] <= 1
    for name in ("reports/seconds_per_report", "reports/tokens_per_second"):
        assert run.data.metrics[name] > 0
    assert run.data.metrics["reports/structured/control/companions/identical_text"] == 1
    assert run.data.tags["random_weights"] == RANDOM_WEIGHTS_NOTICE
    assert run.data.tags["generator.precision"] == "fp32"
    assert run.data.tags["generator.attention"] == "sdpa"
    assert run.data.tags["generator.conventions"] == "1"
    assert run.data.metrics["reports/undecided"] == 1  # a random network gives no word much
    assert run.data.tags["generator.revision"].startswith("sha256:")
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "cases", "fhir", "figures", "images", "report.html", "report.md", "reports.json",
    }  # fmt: skip
    page = Path(client.download_artifacts(run.info.run_id, "cases/index.html")).read_text()
    assert RANDOM_WEIGHTS_NOTICE in page
    assert RANDOM_WEIGHTS_NOTICE in Path(client.download_artifacts(run.info.run_id, "report.md")).read_text()
    table = json.loads(Path(client.download_artifacts(run.info.run_id, "reports.json")).read_text())
    assert len(table["data"]) == first.answers.count


def test_every_report_is_exported_as_fhir(first):
    client = MlflowClient(tracking_uri())
    lines = Path(client.download_artifacts(first.run.run_id, "fhir/DiagnosticReport.ndjson")).read_text().splitlines()
    parsed = client.get_run(first.run.run_id).data.metrics["reports/parsed"]
    assert len(lines) == round(12 * parsed) > 0
    for line in lines:
        assert DiagnosticReport.model_validate_json(line).status == "preliminary"


def test_every_row_is_a_trace_with_its_prompt_and_feedback(first):
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    traces = client.search_traces(locations=[experiment], run_id=first.run.run_id, max_results=500)
    assert {trace.info.tags["row_id"] for trace in traces} == _row_ids()
    feedback = {assessment.name for trace in traces for assessment in trace.info.assessments}
    assert feedback == {"parsed", "label_correct", "agrees_with_classifier", "unsupported_claims"}


def test_the_prefect_run_shows_how_far_the_reports_are(first):
    (shown,) = [artifact for artifact in artifacts_of(first.flow_run_id) if artifact.type == "progress"]
    assert (shown.description, float(shown.data)) == (f"reports: {len(_row_ids())} of {len(_row_ids())}", 100)


def test_another_strategy_writes_its_own_rows_only_and_trains_nothing(first, words):
    before = _row_ids()
    strategies = "concise,structured,context_aware,zero_shot"
    result = reports(**parse(reports, [*words, "--reports.strategies", strategies]))
    assert {"plan-reports", "write-reports", "read-reports"} <= _executed(result)
    assert "choose-report-cases" not in _executed(result)
    table = Store().get_json(result.audit.table)
    columns = table["columns"]
    rows = {row[columns.index("row")]: row[columns.index("strategy")] for row in table["data"]}
    new = _row_ids() - before
    assert new
    assert {rows[row_id] for row_id in new} == {"zero_shot"}


def test_reference_reports_are_compared_with_and_write_nothing_anew_and_the_same_again_executes_nothing(
    first, words, tmp_path
):
    before, references = _row_ids(), tmp_path / "references.csv"
    words = [*words, "--reports.strategies", "concise,structured,context_aware"]
    words += ["--reports.references", str(references)]
    references.write_text("case,reference\n" + "".join(f"{case},No effusion. Clear lungs.\n" for case in range(LIMIT)))
    result = reports(**parse(reports, words))
    assert _executed(result) & {"audit-written-reports", "write-reports"} == {"audit-written-reports"}
    assert _row_ids() == before
    client = MlflowClient(tracking_uri())
    metrics = client.get_run(result.run.run_id).data.metrics
    assert metrics["reports/references/cases"] == 4
    for name in ("bleu", "chrf", "chrf_ci_low", "denied_recall"):
        assert 0 <= metrics[f"reports/references/structured/{name}"] <= 1
    document = Path(client.download_artifacts(result.run.run_id, "report.md")).read_text()
    assert "## Against reference reports" in document
    table = json.loads(Path(client.download_artifacts(result.run.run_id, "reports.json")).read_text())
    assert table["columns"][-2:] == ["reference", "chrF"]
    again = reports(**parse(reports, words))
    assert _executed(again) == set()
    assert again.audit == result.audit
    references.write_text("case,reference\n0,Another.\n1,Another.\n")
    assert "audit-written-reports" in _executed(reports(**parse(reports, words)))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["--reports.device", "cuda"], "GPU"),
        (["--reports.model", "nowhere/to-be-found"], "nowhere/to-be-found"),
        (["--reports.precision", "int3"], "--reports.precision"),
        (["--reports.strategies", "poem"], "--reports.strategies"),
        (["--reports.references", "nowhere.csv"], "--reports.references nowhere.csv: it cannot be read"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_before_anything_is_computed(
    words, outputs, capsys, monkeypatch, changed, told
):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(reports, [*words, *changed]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert told in errors[0]
    assert not list((outputs / "results").glob("*/*")), "something was computed"


def test_the_form_offers_every_strategy():
    assert tuple(parse(reports, [])["reports"].strategies) == STRATEGIES
