"""The reports flow with a real Gemma 3: every row is written, read or kept with the reason, and audited."""

import json
from pathlib import Path

import jsonschema
import pytest
from mlflow import MlflowClient

from flows.reports import reports
from flows.support.shell import parse
from models.notices import RANDOM_WEIGHTS_NOTICE
from models.report_generation.parsing import report_json_schema
from tasks.storage.locations import tracking_uri
from tests.flows.small import FEW_IMAGES, RETRIEVAL

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")


@pytest.fixture
def _data(official_file, monkeypatch):
    monkeypatch.setenv("DATA", str(official_file.parent))


@pytest.mark.usefixtures("_data")
def test_the_flow_writes_and_audits_reports(grafted):
    words = [
        *RETRIEVAL, *FEW_IMAGES, "--reports.generator", "medgemma", "--reports.model", str(grafted),
        "--reports.device", "cpu", "--reports.strategies", "structured", "--reports.cases", "2",
        "--reports.controlled_cases", "0",
    ]  # fmt: skip
    result = reports(**parse(reports, words))
    client = MlflowClient(tracking_uri())
    run = client.get_run(result.run.run_id)
    assert run.info.status == "FINISHED"
    assert (result.answers.count, result.answers.failed) == (4, 0)
    assert run.data.metrics["reports/count"] == 2
    assert 0 <= run.data.metrics["reports/undecided"] <= 1
    assert run.data.tags["random_weights"] == RANDOM_WEIGHTS_NOTICE
    assert run.data.tags["generator.attention"] == "sdpa"
    assert run.data.tags["generator.conventions"] == "1"
    table = json.loads(Path(client.download_artifacts(run.info.run_id, "reports.json")).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["strategy"] for row in rows] == ["structured", "yes_no"] * 2
    assert all(0 < row["P(Yes) + P(No)"] < 1 for row in rows if row["strategy"] == "yes_no")
    asked = [row for row in rows if row["strategy"] == "structured"]
    for row in asked:  # a base model may fill the schema with words that say nothing, and that is told
        if row["finish"] == "stop" and row["problem"]:
            jsonschema.validate(json.loads(row["text"]), json.loads(report_json_schema()))
    assert run.data.metrics["reports/parsed"] == sum(row["problem"] is None for row in asked) / len(asked)
