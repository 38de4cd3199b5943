"""Who may ask: through the application as it is served."""

import base64

import pytest
from fastapi.testclient import TestClient

from deployments.page.application import application
from deployments.page.guard import PAGE_POLICY
from deployments.page.settings import LOOPBACK_NAMES, PageSettings
from tests.deployments.page.pictures import png

ADDRESS = "http://127.0.0.1:8300"
LOGIN = "ward:päss word:1"


def client_of(tmp_path, **settings):
    return TestClient(application(PageSettings(**settings), tmp_path), base_url=ADDRESS)


@pytest.fixture
def client(tmp_path):
    return client_of(tmp_path)


def _upload(client, **headers):
    return client.put("/uploads", content=png(), headers={"X-Picture-Name": "a.png"} | headers)


def test_every_answer_has_the_headers(client):
    for address in ("/", "/health", "/assets/page.js", "/nowhere", "/cases/x/index.html"):
        headers = client.get(address).headers
        assert headers["Content-Security-Policy"] == PAGE_POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers
    assert "script-src 'self'" in PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY
    assert client.get("/", headers={"Host": "evil.example"}).headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["127.0.0.1:8300", "localhost", "LOCALHOST:1", "[::1]:8300"])
def test_names_of_loopback_lead_to_the_page(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8300", "", "[::1", "evil@127.0.0.2"]
)
def test_another_sites_name_that_leads_here_is_refused(client, host):
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert "PAGE_NAMES" in answer.json()["problem"]
    assert _upload(client, Host=host).status_code == 400


def test_names_that_are_set_lead_to_the_page(tmp_path):
    client = client_of(tmp_path, names=LOOPBACK_NAMES | {"xrays.example"})
    assert client.get("/", headers={"Host": "XRays.example:8300"}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:8300"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
def test_another_site_cannot_upload_or_start_anything(client, tmp_path, headers):
    for answer in (_upload(client, **headers), client.post("/runs", json={"pictures": []}, headers=headers)):
        assert answer.status_code == 403
        assert answer.json()["problem"].startswith("This comes from a page of another site")
    assert not list(tmp_path.rglob("*.png"))


def test_the_page_itself_and_programs_without_a_browser_can(client):
    own = {"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
    for headers in (own, {}):
        assert _upload(client, **headers).status_code == 201


def test_another_site_can_link_to_the_page_and_not_embed_or_read_it(client):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    for others in (
        {"Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    ):
        assert client.get("/", headers=link | others).status_code == 403


@pytest.mark.parametrize("address", ["/", "/assets/page.js", "/runs/x", "/cases/x/index.html", "/nowhere"])
def test_with_a_login_nothing_is_answered_without(tmp_path, address):
    client = client_of(tmp_path, login=LOGIN)
    for given in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic !"}, _basic("ward:x"), _basic("")):
        answer = client.get(address, headers=given)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert client.get(address, headers=_basic(LOGIN)).status_code in (200, 400, 404)


def test_with_a_login_nothing_is_stored_without(tmp_path):
    client = client_of(tmp_path, login=LOGIN)
    assert _upload(client).status_code == 401
    assert not list(tmp_path.rglob("*.png"))
    assert _upload(client, **_basic(LOGIN)).status_code == 201
    assert _upload(client, Origin="http://evil.example", **_basic(LOGIN)).status_code == 403


def test_whether_it_lives_is_told_without_a_login(tmp_path):
    assert client_of(tmp_path, login=LOGIN).get("/health").text == "OK"


def _basic(login):
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
