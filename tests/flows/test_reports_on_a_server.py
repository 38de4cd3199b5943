"""Reports by a model on a server, in whole runs: what is kept, where the key is not, and what ends a run."""

import itertools
import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME
from sqlalchemy import make_url

from flows.support.shell import main, parse
from models.text import printable
from tasks.storage.locations import tracking_uri
from tests.support import canary, smallest
from tests.support.openai_stand_in import MODEL, stand_in, status
from tests.support.short_reports import short_reports

pytestmark = pytest.mark.usefixtures("prefect_server", "shared_outputs")

KEY = "sk-canary-7e3a9b5c1d"
VERSION = f"0.11.0 {canary.text('version', 300)}"


@pytest.fixture(scope="module", autouse=True)
def _data(official_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA", str(official_file.parent))
        yield


@pytest.fixture(scope="module")
def server():
    with stand_in(key=KEY, pages={"/version": {"version": VERSION}}) as server:
        server.words = canary.text("words", 300).replace("\r\n# h\n", " ")  # its parser goes by lines
        yield server


def words_for(server, **fields):
    return smallest.words(
        "dataset", "training", "evaluation", "reports", dataset__limit=160, training__epochs=1,
        reports__generator="openai", reports__server=server.url, reports__model=MODEL, reports__key_block="my-server",
        reports__strategies=["concise", "structured"], reports__controls=["blank", "alone"], **fields,
    )  # fmt: skip


def kept_rows(outputs):
    shards = [json.loads(path.read_text()) for path in outputs.glob("store/jobs/*/shards/*.json")]
    return [row for shard in shards for row in shard]


@pytest.fixture(scope="module")
def broken_off(server, shared_outputs, prefect_server):
    """A run that ends because the server does not accept the key any more, which it quotes."""
    Secret(value=KEY).save("my-server", overwrite=True)
    asked = itertools.count()  # several requests are under way at once: those that were answered come too late
    server.fault = lambda body, before: status(401, f"Incorrect API key provided: {KEY}") if next(asked) >= 4 else None
    exit_code = main(short_reports, words_for(server))
    server.fault = lambda body, before: None
    return exit_code, {row["row_id"] for row in kept_rows(shared_outputs)}


@pytest.fixture(scope="module")
def result(broken_off, server):
    return short_reports(**parse(short_reports, words_for(server)))


def test_a_key_that_expires_ends_the_run_in_one_sentence_and_loses_no_row(broken_off):
    exit_code, kept = broken_off
    assert exit_code == 2
    assert len(kept) == 3  # and one trial, whether the server answers at all


def test_the_next_run_asks_only_for_what_is_missing(result, broken_off, server, shared_outputs):
    rows = kept_rows(shared_outputs)
    assert len(rows) == len({row["row_id"] for row in rows}) == result.answers.count
    assert broken_off[1] < {row["row_id"] for row in rows}
    assert result.answers.failed == 0
    trials = 2
    assert len(server.answered) == result.answers.count + trials


def test_run_and_rows_say_which_server_and_model_it_was(result, server):
    client = MlflowClient(tracking_uri())
    run = client.get_run(result.run.run_id)
    tags = run.data.tags
    assert (tags["generator.server"], tags["generator.server_version"]) == (server.url, printable(f"vLLM {VERSION}"))
    assert (tags["generator.model"], tags["generator.device"]) == (MODEL, "server")
    assert "generator.precision" not in tags
    assert "random_weights" not in tags
    assert run.data.metrics["reports/parsed"] == 1
    assert run.data.metrics["reports/structured/control/alone/identical_text"] == 1
    report = Path(client.download_artifacts(result.run.run_id, "report.md")).read_text()
    assert f"The language model {MODEL}, on http" in report
    assert "(vLLM 0.11.0 " in report and ", all as the server says" in report
    assert "None" not in report.split("## Audit")[0]
    fhir = Path(client.download_artifacts(result.run.run_id, "fhir/DiagnosticReport.ndjson")).read_text()
    assert f"language model: {MODEL}, http" in fhir
    assert "(vLLM 0.11.0 " in fhir
    traces = client.search_traces(locations=[run.info.experiment_id], run_id=result.run.run_id, max_results=100)
    assert len(traces) == result.answers.count
    spans = [trace.data.spans[0] for trace in traces]
    assert {span.attributes.get("server_version") for span in spans} == {printable(f"vLLM {VERSION}")}
    decided = {span.outputs.get("decided_by") for span in spans if "probability_of_yes" in span.outputs}
    assert decided == {"log-probabilities"}


def test_what_a_server_and_its_model_say_steers_no_display_of_a_document_or_trace(result, shared_outputs):
    """Stored rows alone keep an answer as it was given."""
    database = Path(make_url(PREFECT_API_DATABASE_CONNECTION_URL.value()).database)
    documents = [*(place for place in shared_outputs.iterdir() if place.name != "store"), database.parent]
    assert {"words", "version"} <= canary.fields(documents)
    assert canary.raw(documents) == []


def test_the_key_is_nowhere(result, shared_outputs, capfd, caplog):
    """But in the request and, encrypted, in Prefect's block."""
    database = Path(make_url(PREFECT_API_DATABASE_CONNECTION_URL.value()).database)
    assert database.is_file()
    places = [*shared_outputs.rglob("*"), *Path(PREFECT_HOME.value()).rglob("*"), *database.parent.glob("*.db*")]
    holding = [path for path in places if path.is_file() and KEY.encode() in path.read_bytes()]
    assert not holding
    assert any(path.name == "mlflow.db" for path in places)
    assert KEY not in "".join(capfd.readouterr()) + caplog.text


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["--reports.model", "other"], f"has no model other: it offers {MODEL}"),
        (["--reports.server", "http://127.0.0.1:9/v1"], "cannot be reached"),
        (["--reports.server", "http://me:s3cr3t@h/v1"], "--reports.server: The address of the server holds a login"),
        (["--reports.server", "h:8000"], "--reports.server: h:8000 is no address of a server: give one such as"),
        (["--reports.key_block", "no-such-block"], "does not accept the key"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_before_anything_is_computed(server, outputs, capsys, changed, told):
    assert main(short_reports, [*words_for(server), *changed]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert told in errors[0]
    assert "s3cr3t" not in errors[0]
    assert not list((outputs / "results").glob("*/*")), "something was computed"


def test_without_a_server_there_is_one_sentence(outputs, capsys):
    words = smallest.words("dataset", "training", "evaluation", "reports", reports__generator="openai")
    assert main(short_reports, words) == 2
    assert "error: The generator openai needs the address of a server: give --reports.server" in capsys.readouterr().err
