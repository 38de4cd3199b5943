"""What the server's pages show of an artifact's Markdown, and where it makes them and hands over to uvicorn.

The pages of runs (`flows.support.page`) rest on the former, `deployments.local.prefect_server` changes the latter.
"""

import base64
import io
import threading

import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image
from prefect.cli import _server_utils
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.server.api import server
from prefect.settings import PREFECT_UI_API_URL, PREFECT_UI_STATIC_DIRECTORY, temporary_settings
from rich.console import Console

from deployments.local.prefect_server import keep_foreign_sites_out, keep_pages_at_home
from docs.tools import screenshots
from tasks.shared.markdown import FOLDED, fold, table
from tests.e2e.browser import needs_chromium
from tests.e2e.services import wait_for
from tests.support.ports import free_port


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


@pytest.fixture
def pages(prefect_server, tmp_path):
    """The address of the pages, which the server of the tests does not serve itself, over that server."""
    with get_client(sync_client=True) as client:
        api = str(client.api_url).rstrip("/")
    port = free_port()
    with temporary_settings({PREFECT_UI_API_URL: api, PREFECT_UI_STATIC_DIRECTORY: str(tmp_path)}):
        app = server.create_ui_app(ephemeral=False)
        served = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
        thread = threading.Thread(target=served.run)
        thread.start()
        wait_for(lambda: served.started)
        yield f"http://127.0.0.1:{port}/v2"
        served.should_exit = True
        thread.join()


@needs_chromium
@pytest.mark.e2e
def test_an_artifact_shows_pictures_and_folds_long_tables(pages):
    png = io.BytesIO()
    Image.new("RGB", (300, 120), "teal").save(png, "PNG")
    inline = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    rows = table(["name", "value"], [["row", number] for number in range(FOLDED + 1)])
    text = f"# Shown\n\n1. **First:** words\n\n![inline]({inline})\n\n{fold(rows)}"
    with get_client(sync_client=True) as client:
        made = client.create_artifact(ArtifactCreate(type="markdown", data=text))
    with screenshots.opened_page() as page:
        page.goto(f"{pages}/artifacts/artifact/{made.id}")
        page.get_by_role("heading", name="Shown").wait_for()
        picture = page.get_by_alt_text("inline")
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 300
        assert not page.get_by_role("cell", name="row").first.is_visible()
        page.get_by_text(f"{FOLDED + 1} rows: name, value").click()
        page.get_by_role("cell", name="row").first.wait_for(state="visible")
