"""Whole runs that a hub or an object store refuses, and quotes their secrets: one sentence, and the secrets nowhere."""

import logging
from pathlib import Path

import fsspec
import pytest
from mlflow import MlflowClient
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME
from sqlalchemy.engine import make_url

from flows.classification import classification
from flows.reports import reports
from flows.retrieval import retrieval
from flows.support.shell import main
from models.errors import LONGEST_SENTENCE
from tasks.shared.published_encoders import TOKEN_BLOCK
from tasks.storage.locations import outputs as products
from tasks.storage.locations import tracking_uri
from tests.e2e.object_store import object_store
from tests.models.encoders.twins import write_medsiglip
from tests.models.hub_server import INVALID, NOT_ACCEPTED, serve
from tests.support import canary, smallest

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs", "_data")
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIA-canary-2b7d",
    "AWS_SECRET_ACCESS_KEY": "secret-canary-5e1f",
    "AWS_SESSION_TOKEN": "session-canary-9c3a",
}


@pytest.fixture
def _data(official_file, monkeypatch):
    monkeypatch.setenv("DATA", str(official_file.parent))


def error_of(captured):
    """Return the one sentence that a run ended with."""
    assert "Traceback" not in captured.out + captured.err
    (sentence,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(sentence) <= LONGEST_SENTENCE + len("error: ")
    return sentence


def assert_nowhere(secrets, said):
    """Look through products, databases and logs, as well as what a run has printed."""
    database = Path(make_url(PREFECT_API_DATABASE_CONNECTION_URL.value()).database)
    assert database.is_file()
    assert canary.holding([products(), Path(PREFECT_HOME.value()), database.parent], secrets) == []
    assert [secret for secret in secrets if secret in said] == []


@pytest.mark.parametrize("kept_in", ["HF_TOKEN", TOKEN_BLOCK])
@pytest.mark.parametrize(
    ("token", "told"),
    [(INVALID, "The Hugging Face hub refuses the access token;"), (NOT_ACCEPTED, "has not accepted the licence")],
)
@pytest.mark.parametrize(
    ("flow", "words"),
    [
        (retrieval, {"retrieval__encoders": ["classifier", "medsiglip"], "retrieval__medsiglip": "someone/gated"}),
        (reports, {"reports__generator": "medgemma", "reports__model": "someone/gated"}),
    ],
    ids=["retrieval", "reports"],
)
def test_a_token_that_the_hub_refuses(flow, words, token, told, kept_in, tmp_path, monkeypatch, capfd, caplog):
    written = smallest.words("dataset", "training", "evaluation", flow.name, **words)
    with (
        caplog.at_level(logging.INFO),
        serve(write_medsiglip(tmp_path / "model"), "someone/gated", tmp_path, monkeypatch) as hub,
    ):
        hub.repeats_tokens = True
        if kept_in == TOKEN_BLOCK:
            Secret(value=token).save(TOKEN_BLOCK, overwrite=True)
        else:
            monkeypatch.setenv(kept_in, token)
        try:
            assert main(flow, written) == 2
        finally:
            if kept_in == TOKEN_BLOCK:
                Secret.delete(TOKEN_BLOCK)
    captured = capfd.readouterr()
    assert told in error_of(captured)
    assert_nowhere([token], captured.out + captured.err + caplog.text)


def test_credentials_of_the_store_that_expire_in_mid_run(monkeypatch, capfd, caplog):
    words = smallest.words("dataset", "training", "evaluation")
    with object_store() as server:
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        server.state.writes = 8
        try:
            assert main(classification, words) == 2
            captured = capfd.readouterr()
            assert "s3://pneumonia/store cannot be written (The provided token has expired)" in error_of(captured)
            server.state.writes = 10_000
            assert main(classification, words) == 0
            assert KEYS["AWS_SESSION_TOKEN"] in server.state.tokens
        finally:
            fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert_nowhere(KEYS.values(), captured.out + captured.err + "".join(capfd.readouterr()) + caplog.text)
    client = MlflowClient(tracking_uri())
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]
