"""Where the server makes its pages, which `deployments.local.prefect_server` lets reach no other address."""

from fastapi.testclient import TestClient
from prefect.server.api import server
from prefect.settings import PREFECT_UI_API_URL, PREFECT_UI_STATIC_DIRECTORY, temporary_settings

from deployments.local.prefect_server import keep_pages_at_home


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
