"""Where MLflow starts `uvicorn` for its servers, which `deployments.local.guarded_mlflow` changes."""

import sys

import pytest
from mlflow import server
from mlflow.pyfunc import scoring_server

from deployments.guards.served import SCORING
from deployments.local.guarded_mlflow import stand_guard

GUARDED = [sys.executable, "-m", "deployments.guards.served"]


@pytest.fixture(autouse=True)
def _guarded(monkeypatch):
    monkeypatch.setattr(server, "_build_uvicorn_command", server._build_uvicorn_command)  # put back at the end
    monkeypatch.setattr(scoring_server, "get_cmd", scoring_server.get_cmd)
    stand_guard()


@pytest.fixture
def started(monkeypatch):
    """The words of what `mlflow server` starts."""
    found = []
    monkeypatch.setattr(server, "_exec_cmd", lambda command, **others: found.extend(command) or _Ended())
    return found


class _Ended:
    pid, returncode = 0, 0

    def wait(self):
        return 0


def _serve(**options):
    server._run_server(
        file_store_path="sqlite://", registry_store_uri=None, default_artifact_root=None, serve_artifacts=False,
        artifacts_only=False, artifacts_destination=None, port=5000, workers=1, **options,
    )  # fmt: skip


def test_the_tracking_server_is_served_behind_guards(started):
    _serve(host="127.0.0.1")
    assert started[:3] == GUARDED
    assert started[-1] == "mlflow.server.fastapi_app:app"


def test_beyond_loopback_it_wants_logins(started, capsys, monkeypatch):
    monkeypatch.setenv("SERVER_NAMES", "mlflow")
    with pytest.raises(SystemExit) as ended:
        _serve(host="0.0.0.0")
    assert (ended.value.code, started) == (2, [])
    assert "needs a login: start it with --app-name basic-auth" in capsys.readouterr().err
    monkeypatch.setattr(server, "_bootstrap_basic_auth", lambda: None)
    _serve(host="0.0.0.0", app_name="basic-auth")
    assert started[:3] == GUARDED
    assert started[-1] == "mlflow.server.auth:create_app"


def test_the_scoring_server_has_no_login_and_stays_on_loopback(capsys):
    command, _ = scoring_server.get_cmd("/a model", 8000, None, None, 2)
    assert command.split() == [*GUARDED, "--port", "8000", "--workers", "2", SCORING]
    with pytest.raises(SystemExit) as ended:
        scoring_server.get_cmd("/a model", 8000, "0.0.0.0", None, None)
    assert ended.value.code == 2
    assert "needs a login: put a proxy that asks for one before it" in capsys.readouterr().err
