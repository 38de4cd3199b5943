"""The page with a real Prefect server: what it takes, starts, shows and gives out."""

import os
import re
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Completed, Failed, Pending, Running, Scheduled, State

from deployments.page.application import application
from deployments.page.settings import PageSettings
from deployments.page.uploads import Limits
from tasks.parameters.cases import CasesParameters
from tests.deployments.page.pictures import case, png, write_products

HTML = {"Accept": "text/html"}
POOL = "page-of-a-test"


@flow(name="cases")
def cases(cases: CasesParameters = CasesParameters()) -> None:  # noqa: B008
    """Stands where the flow is registered; no test runs it."""


@task
def judge():
    """Stands where a step has a run."""


@pytest.fixture
def page(tmp_path):
    limits = Limits(file_bytes=10_000, files=3)
    app = application(PageSettings(), tmp_path, limits)
    with TestClient(app, base_url="http://127.0.0.1:8300", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def prefect(prefect_server):
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        yield client
        client.delete_work_pool(POOL)


@pytest.fixture(scope="module")
def deployment(prefect):
    from deployments.local.form import form_schema

    made = prefect.create_deployment(
        prefect.create_flow_from_name("cases"),
        "cases",
        work_pool_name=POOL,
        parameter_openapi_schema=form_schema(cases),
        enforce_parameter_schema=True,
    )
    yield made
    prefect.delete_deployment(made)


def _keep(page, name="scan.png", content=None):
    answer = page.put("/uploads", content=content or png(), headers={"X-Picture-Name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()["picture"]


def test_without_a_deployment_or_prefect_there_is_a_sentence(page, prefect):
    picture = _keep(page)
    answer = page.post("/runs", json={"pictures": [picture]})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "register it with `make register`" in answer.json()["problem"]
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        answer = page.post("/runs", json={"pictures": [picture]})
    assert answer.status_code == 503
    assert answer.json()["problem"].startswith("Prefect does not answer")


def test_a_picture_is_kept_and_a_run_looks_at_it(page, prefect, deployment, tmp_path):
    picture = _keep(page, "..%2Fa%20scan%E8%82%BA.png")
    assert picture.endswith("/a_scan_.png")
    answer = page.post("/runs", json={"pictures": [picture]})
    assert answer.status_code == 201, answer.text
    run = prefect.read_flow_run(answer.json()["address"].removeprefix("/runs/"))
    assert run.deployment_id == deployment
    assert run.parameters["cases"]["images"] == [str(tmp_path / "uploads" / picture)]
    assert (run.name, run.tags) == ("page: a_scan_.png", ["page"])
    shown = page.get(answer.json()["address"], headers=HTML)
    assert f"/runs/flow-run/{run.id}" in shown.text
    assert "No worker is up that could take it" in shown.text
    several = page.post("/runs", json={"pictures": [picture, _keep(page, "b.png")]}).json()["address"]
    assert prefect.read_flow_run(several.removeprefix("/runs/")).name == "page: 2 pictures"


@pytest.mark.parametrize(
    ("state", "stage", "words"),
    [
        (Scheduled(), "waiting", "No worker is up that could take it: start one with `make up`."),
        (State(type=StateType.SCHEDULED, name="AwaitingConcurrencySlot"), "waiting", "Waiting for its turn: other"),
        (Pending(), "running", "A worker has taken it"),
        (Running(), "running", "Under way"),
        (Completed(), "done", "Done."),
        (
            Failed(message="No version is the champion:\nmake one."),
            "failed",
            "Failed: No version is the champion: make",
        ),
        (Cancelled(), "failed", "Cancelled: no reason was given"),
    ],
)
def test_where_a_run_stands_is_said_in_words(page, prefect, deployment, state, stage, words):
    run = prefect.create_flow_run_from_deployment(deployment)
    prefect.set_flow_run_state(run.id, state, force=True)
    found = page.get(f"/runs/{run.id}/progress").json()
    assert found["stage"] == stage
    assert found["words"].startswith(words)
    assert page.get(f"/runs/{run.id}", headers=HTML).status_code == 200


def test_a_worker_that_is_up_is_waited_for(page, prefect, deployment):
    run = prefect.create_flow_run_from_deployment(deployment)
    prefect.send_worker_heartbeat(POOL, "a worker")
    assert "looks for work every few seconds" in page.get(f"/runs/{run.id}/progress").json()["words"]
    prefect.set_flow_run_state(run.id, Scheduled(name="Late"), force=True)
    assert "the worker is busy" in page.get(f"/runs/{run.id}/progress").json()["words"]


def test_the_steps_that_are_under_way_are_named(page, prefect, deployment):
    run = prefect.create_flow_run_from_deployment(deployment)
    prefect.set_flow_run_state(run.id, Running(), force=True)
    for name, state in (("judge_pictures-1a2", Running()), ("read_package-0", Completed())):
        prefect.create_task_run(judge, run.id, dynamic_key=name, name=name, state=state)
    words = page.get(f"/runs/{run.id}/progress").json()["words"]
    assert words == "Under way: judge pictures; 1 step done."


def test_what_was_found_is_shown_with_its_files(page, prefect, deployment, tmp_path):
    run = prefect.create_flow_run_from_deployment(deployment).id
    prefect.set_flow_run_state(run, Completed(), force=True)
    assert "not in this page&#39;s outputs folder" in page.get(f"/runs/{run}", headers=HTML).text
    write_products(tmp_path / "cases", run, [case()], body="P(pneumonia) 0.90")
    shown = page.get(f"/runs/{run}", headers=HTML).text
    assert f'<iframe class="found" src="/cases/{run}/abababababab.html"' in shown
    assert "1 picture, without concern" in shown
    found = page.get(f"/cases/{run}/abababababab.html")
    assert "P(pneumonia) 0.90" in found.text
    assert found.headers["Content-Security-Policy"].endswith("frame-ancestors 'self'")
    assert found.headers["Content-Disposition"].startswith("inline")
    for name in re.findall(rf'href="/cases/{run}/([^"]*)" download', shown):
        file = page.get(f"/cases/{run}/{name}")
        assert file.status_code == 200
        assert file.headers["Content-Disposition"].startswith("attachment")
        assert file.headers["X-Content-Type-Options"] == "nosniff"
    assert f'href="/runs/{run}"' in page.get("/", headers=HTML).text


def test_earlier_results_are_shown_where_prefect_has_forgotten_the_run_or_is_away(page, prefect, tmp_path):
    run = uuid4()
    write_products(tmp_path / "cases", run, [case()])
    assert "<iframe" in page.get(f"/runs/{run}", headers=HTML).text
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert "<iframe" in page.get(f"/runs/{run}", headers=HTML).text
        assert "Prefect does not answer" in page.get(f"/runs/{uuid4()}", headers=HTML).text


def test_a_run_that_is_not_there_is_a_sentence(page, prefect):
    for address, status in ((f"/runs/{uuid4()}", 404), ("/runs/x", 400), ("/nowhere", 404)):
        answer = page.get(address)
        assert answer.status_code == status
        assert answer.json().keys() == {"problem"}
        shown = page.get(address, headers=HTML)
        assert shown.status_code == status
        assert 'class="problem"' in shown.text


@pytest.mark.parametrize(
    ("address", "method"), [("/docs", "GET"), ("/openapi.json", "GET"), ("/cases", "GET"), ("/uploads", "GET")]
)
def test_nothing_is_listed(page, address, method):
    assert page.request(method, address).status_code in (404, 405)
    assert page.request(method, f"{address}/").status_code in (404, 405)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"pictures": 3}', "application/json", 400),
        (b'{"pictures": ["a"], "name": "b"}', "application/json", 400),
        (b'{"pictures": ["../../etc/passwd"]}', "application/json", 400),
        (b'{"pictures": []}', "text/plain", 415),
        (b" " * 70_000, "application/json", 413),
    ],
)
def test_a_wrong_request_is_a_sentence(page, body, kind, status):
    answer = page.post("/runs", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert len(answer.json()["problem"]) < 300


def test_a_file_that_is_no_picture_or_too_large_is_a_sentence(page, tmp_path):
    no_picture = page.put("/uploads", content=b"%PDF-1.4", headers={"X-Picture-Name": "scan.png"})
    assert no_picture.status_code == 415
    assert no_picture.json()["problem"].startswith("scan.png is no image")

    for content in (b"\0" * 10_001, iter([b"\0" * 1000] * 11)):  # the second in chunks, which declare no length
        large = page.put("/uploads", content=content)
        assert large.status_code == 413
        assert large.json()["problem"].startswith("The file is larger than")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_names_of_files_and_text_of_runs_are_text(page, prefect, deployment):
    run = prefect.create_flow_run_from_deployment(deployment).id
    prefect.set_flow_run_state(run, Failed(message="<script>alert(1)</script>"), force=True)
    shown = page.get(f"/runs/{run}", headers=HTML).text
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert" in shown
    assert shown.count("<script") == 1  # the page's own
    assert not re.search(r"\son\w+=|javascript:|style=", shown)


def test_the_pages_name_no_address_elsewhere(page):
    for address in ("/", "/assets/page.css", "/assets/base.css", "/assets/page.js"):
        text = page.get(address, headers=HTML).text
        assert set(re.findall(r"https?://([^/:\"'`]+)", text)) <= {"127.0.0.1"}
    assert os.environ.get("PREFECT_API_URL") is None
