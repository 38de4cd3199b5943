"""Where the server makes its pages and hands over to uvicorn, which `deployments.local.prefect_server` both changes."""

import pytest
import uvicorn
from fastapi.testclient import TestClient
from prefect.cli import _server_utils
from prefect.server.api import server
from prefect.settings import PREFECT_UI_API_URL, PREFECT_UI_STATIC_DIRECTORY, temporary_settings
from rich.console import Console

from deployments.local.prefect_server import keep_foreign_sites_out, keep_pages_at_home


def test_pages_reach_the_server_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(server, "create_ui_app", server.create_ui_app)  # put back at the end
    keep_pages_at_home()
    made = {PREFECT_UI_API_URL: "https://team.example:4300/api", PREFECT_UI_STATIC_DIRECTORY: str(tmp_path)}
    with temporary_settings(made), TestClient(server.create_ui_app(ephemeral=False)) as client:
        page = client.get("/v2/", headers={"Accept": "text/html"})
    assert "<html" in page.text
    assert page.headers["Content-Security-Policy"] == (
        "connect-src 'self' data: blob: https://team.example:4300 wss://team.example:4300"
    )


@pytest.mark.parametrize(("host", "foreign"), [("127.0.0.1", 403), ("0.0.0.0", 200)])
def test_a_server_on_loopback_refuses_other_sites(monkeypatch, tmp_path, host, foreign):
    served = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.update(options, app=app))
    keep_foreign_sites_out()
    with temporary_settings({PREFECT_UI_STATIC_DIRECTORY: str(tmp_path)}):
        _server_utils._run_in_foreground(Console(quiet=True), {}, host, 4999, 5, no_services=True, workers=1)
    assert (served["host"], served["port"]) == (host, 4999)
    own = TestClient(served["app"], base_url="http://127.0.0.1:4999")
    assert own.get("/api/health").status_code == 200
    assert own.get("/api/health", headers={"Origin": "https://evil.example"}).status_code == foreign
