"""Where the server makes its pages and hands over to uvicorn, which `deployments.local.prefect_server` both changes."""

import pytest
import uvicorn
from fastapi.testclient import TestClient
from prefect.cli import _server_utils
from prefect.server.api import server
from prefect.settings import (
    PREFECT_SERVER_API_AUTH_STRING,
    PREFECT_UI_API_URL,
    PREFECT_UI_STATIC_DIRECTORY,
    temporary_settings,
)
from rich.console import Console

from deployments.guards import served
from deployments.guards.slow_clients import PROTOCOL
from deployments.local.prefect_server import keep_pages_at_home, stand_guard


def test_pages_reach_the_server_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(server, "create_ui_app", server.create_ui_app)  # put back at the end
    keep_pages_at_home()
    made = {PREFECT_UI_API_URL: "https://team.example:4300/api", PREFECT_UI_STATIC_DIRECTORY: str(tmp_path)}
    with temporary_settings(made), TestClient(server.create_ui_app(ephemeral=False)) as client:
        page = client.get("/v2/", headers={"Accept": "text/html"})
    assert "<html" in page.text
    assert page.headers["Content-Security-Policy"] == (
        "connect-src 'self' data: blob: https://team.example:4300 wss://team.example:4300; frame-ancestors 'self'"
    )


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Starts the server as `prefect server start` does, up to where it would listen."""
    handed = {}
    monkeypatch.setattr(uvicorn, "run", uvicorn.run)  # put back at the end
    monkeypatch.setattr(served, "_run", lambda app, **options: handed.update(options, app=app))
    stand_guard()

    def start(host):
        with temporary_settings({PREFECT_UI_STATIC_DIRECTORY: str(tmp_path)}):
            _server_utils._run_in_foreground(Console(quiet=True), {}, host, 4999, 5, no_services=True, workers=1)
        return handed

    return start


def test_other_sites_and_large_bodies_are_refused(start):
    handed = start("127.0.0.1")
    assert (handed["host"], handed["port"], handed["http"]) == ("127.0.0.1", 4999, PROTOCOL)
    own = TestClient(handed["app"], base_url="http://127.0.0.1:4999")
    assert own.get("/api/health").status_code == 200
    assert own.get("/api/health", headers={"Origin": "https://evil.example"}).status_code == 403
    assert own.post("/api/flow_runs/filter", headers={"Content-Length": "99999999"}).status_code == 413


def test_beyond_loopback_it_wants_a_login_and_knows_its_names(start, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        start("0.0.0.0")
    assert ended.value.code == 2
    assert "needs a login: set PREFECT_SERVER_API_AUTH_STRING" in capsys.readouterr().err
    monkeypatch.setenv("SERVER_NAMES", "team.example")
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "team:secret"}):
        app = start("0.0.0.0")["app"]
        for name, status in (("team.example", 200), ("evil.example", 403)):
            assert TestClient(app, base_url=f"http://{name}:4999").get("/api/health").status_code == status
        assert TestClient(app, base_url="http://team.example:4999").get("/api/admin/version").status_code == 401
