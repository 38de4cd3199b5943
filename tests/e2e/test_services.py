"""The services as a person uses them: up, runs triggered in every way, their products, the page for X-rays, down.

All runs begin at once, when the services are up; the tests look what came of them, and meanwhile at what is there.
"""

import base64
import contextlib
import io
import json
import re
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import numpy as np
import psutil
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.deployments import run_deployment
from prefect.events import Event
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import PREFECT_API_URL, temporary_settings
from websockets.sync.client import connect

from deployments.local.services import GPUS
from docs.tools.screenshots import opened_page
from tasks.parameters.presets import PRESETS
from tasks.shared.markdown import FOLDED, fold, table
from tests.conftest import CHECKOUT
from tests.e2e.browser import needs_chromium
from tests.e2e.client import client_of
from tests.e2e.network import Silent, ask, require_bounded, require_no_way_out, require_own_pages_only
from tests.e2e.page import address, dropped, foreign, xray  # noqa: F401  fixtures of its tests
from tests.e2e.services import (
    call,
    deployment_like,
    end,
    kill,
    left_running,
    process_of,
    running,
    service_environment,
    wait_for,
)
from tests.e2e.webhook import webhook
from tests.support import canary
from tests.support.half_made import leave_half_made
from tests.support.heaps import thread_heaps
from tests.support.pages import page_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),  # what is started counts for the first test
    pytest.mark.expected_in_logs(
        "a run without a champion",
        "no weights of MedGemma",
        "wrong parameters",
        "a login where none is asked for",
    ),
]
IMAGES = {"train": 300, "val": 120, "test": 40}
NO_WAY = "http://127.0.0.1:9"  # a proxy that leads nowhere: what is on this machine is reached without one
SMALL = {
    "training": PRESETS["debug"]["training"] | {"epochs": 4},
    "evaluation": {
        "bootstrap_samples": 50,
        "failures": 1,
        "explained_images": 4,
        "explanation_draws": 2,
        "label_folds": 0,
        "corrupted_images": 0,
        "threshold_rule": "fixed",
    },
    "retrieval": {"encoders": ["classifier"], "bootstrap_samples": 50, "galleries": 1},
    "reports": {"cases": 2, "batch_size": 64, "controlled_cases": 1},
}
GIVEN = {"training": {"seed": 3}, "reports": {"cases": 3}}
OWN = {"champion": {"name": "nobodys-classifier", "reason": "own"}}
REASON = {"champion": {"reason": "given"}}
WRONG = {"champion": {"name": 3}}
WORD = "a word of this test"
SECRETS = {
    "HF_TOKEN": "hf_of-the-hub-5f1c",
    "OPENAI_API_KEY": "sk-of-the-server-5f1c",
    "DICOMWEB_LOGIN": "ward:of-the-archive-5f1c",
    "PREFECT_API_AUTH_STRING": "team:of-prefect-5f1c",
    "MLFLOW_TRACKING_USERNAME": "somebody-5f1c",
    "MLFLOW_TRACKING_PASSWORD": "of-mlflow-5f1c",
    "AWS_SECRET_ACCESS_KEY": "of-the-bucket-5f1c",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory, official_file):
    folder = tmp_path_factory.mktemp("services") / "outputs"
    folder.mkdir()
    leave_half_made(folder / "mlflow.db")  # by an earlier start, which somebody killed
    with webhook() as (_, hook):
        secrets = SECRETS | {"ALERTS_WEBHOOK": hook}
        yield service_environment(folder, official_file.parent, HTTP_PROXY=NO_WAY, HTTPS_PROXY=NO_WAY, **secrets)


def _read(environment, name):
    return json.loads(Path(environment["OUTPUTS"], name).read_text())


@pytest.fixture(scope="module")
def services(environment, server_logs):
    with running(environment, server_logs) as notes:
        workers = f"{notes['prefect_api']}/work_pools/cpu/workers/filter"
        yield notes | {"workers": httpx.post(workers, json={}, timeout=60).json()}
    assert "Nothing was running." in call("down", environment).stdout


@pytest.fixture(scope="module")
def client(services):
    with SyncPrefectClient(services["prefect_api"]) as client:
        yield client


def test_both_addresses_are_printed_and_answer_on_loopback(services, environment):
    for port in (environment["PREFECT_PORT"], environment["MLFLOW_PORT"]):
        assert f"http://127.0.0.1:{port}" in services["printed"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
            assert "<html" in page.read().decode().lower()
    for entry in services["processes"]:
        process = psutil.Process(entry["pid"])
        for member in [process, *process.children(recursive=True)]:
            connections = []
            with contextlib.suppress(psutil.NoSuchProcess):  # a run that has ended
                connections = member.net_connections(kind="tcp")
            for connection in connections:
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip == "127.0.0.1"


def test_the_address_of_the_start_page_that_is_printed_is_that_of_the_start_page(services):
    (page,) = re.findall(r"/v2/artifacts/artifact/([\w-]+)", services["printed"])
    artifact = httpx.get(f"{services['prefect_api']}/artifacts/{page}", timeout=60).json()
    assert artifact["key"] == "overview"
    assert artifact["data"].startswith("# Overview")


@needs_chromium
def test_an_artifact_shows_pictures_and_folds_long_tables(services, client):
    """What the pages of runs rest on, and no document of Prefect says."""
    png = io.BytesIO()
    Image.new("RGB", (300, 120), "teal").save(png, "PNG")
    inline = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    rows = table(["name", "value"], [["row", number] for number in range(FOLDED + 1)])
    text = f"# Shown\n\n1. **First:** words\n\n![inline]({inline})\n\n{fold(rows)}"
    made = client.create_artifact(ArtifactCreate(type="markdown", data=text))
    with opened_page() as page:
        page.goto(f"{services['prefect_api'].removesuffix('/api')}/v2/artifacts/artifact/{made.id}")
        page.get_by_role("heading", name="Shown").wait_for()
        picture = page.get_by_alt_text("inline")
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 300
        assert not page.get_by_role("cell", name="row").first.is_visible()
        page.locator("summary", has_text=f"{FOLDED + 1} rows: name, value").click()
        page.get_by_role("cell", name="row").first.wait_for(state="visible")


@pytest.fixture(scope="module", autouse=True)
def silent(services):
    """Clients that say nothing, until a test looks what became of them."""
    return [Silent(services[name]) for name in ("prefect_api", "mlflow", "page")]


@pytest.mark.parametrize(
    ("server", "question", "method", "body"),
    [
        ("prefect_api", "/api/admin/version", "POST", "/api/flow_runs/filter"),
        ("mlflow", "/api/2.0/mlflow/experiments/search?max_results=1", "POST", "/api/2.0/mlflow/runs/search"),
        ("page", "/", "PUT", "/uploads"),
    ],
)
def test_pages_of_other_sites_and_bodies_that_fill_the_memory_are_refused(services, server, question, method, body):
    require_own_pages_only(services[server], question)
    require_bounded(services[server], body, method)


def test_no_path_leads_out(services, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("what no answer holds")
    mlflow = MlflowClient(services["mlflow"])
    run = mlflow.create_run(mlflow.create_experiment("of a test")).info.run_id
    of_run = [f"/get-artifact?run_uuid={run}&path={{}}", f"/api/2.0/mlflow/artifacts/list?run_id={run}&path={{}}"]
    passed_on = [f"/{api}/2.0/mlflow-artifacts/artifacts/" for api in ("api", "ajax-api")]
    require_no_way_out(services["mlflow"], ["/", "/static-files/", *of_run, *passed_on], secret)
    require_no_way_out(services["prefect_api"], ["/", "/v2/", "/v2/assets/", "/api/"], secret)
    require_no_way_out(services["page"], ["/", f"/cases/{uuid4()}/", "/assets/", "/runs/"], secret)
    mlflow.delete_experiment(mlflow.get_experiment_by_name("of a test").experiment_id)


def test_what_is_uploaded_through_mlflow_lands_in_no_checkout(services):
    for api in ("api", "ajax-api"):
        status, _ = ask(services["mlflow"], f"/{api}/2.0/mlflow-artifacts/artifacts/a.txt", "PUT", b"of a stranger")
        assert status >= 400
    assert not (CHECKOUT / "mlartifacts").exists()


def test_up_again_is_harmless(services, environment):
    done = call("up", environment)
    assert done.returncode == 0
    assert "up already" in done.stdout
    assert _read(environment, "services.json")["processes"] == services["processes"]


def test_a_taken_port_is_one_sentence(services, environment, tmp_path):
    done = call("up", environment | {"OUTPUTS": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: port {environment['PREFECT_PORT']} on 127.0.0.1 is taken")
    assert len(done.stderr.splitlines()) == 1


def test_every_deployment_is_registered_with_its_description(client):
    declared = {
        entry["name"]: entry for entry in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    }
    there = client.read_deployments()
    found = {deployment.name: deployment for deployment in there if not deployment.name.endswith("-of-a-test")}
    assert found.keys() == declared.keys()
    for name, deployment in found.items():
        assert deployment.description == " ".join(declared[name]["description"].split())
        assert deployment.work_pool_name == ("gpu" if name == "reports-medgemma" else "cpu")
        assert not any(schedule.active for schedule in deployment.schedules)
    assert found["pipeline"].schedules
    assert found["pipeline-quickstart"].parameters == PRESETS["quickstart"]


def test_the_worker_has_polled_when_up_says_that_all_is_up(services):
    (worker,) = services["workers"]
    assert (worker["name"], worker["status"]) == ("cpu-1", "ONLINE")


def test_the_gpu_has_a_pool_and_a_strict_limit(client):
    assert {pool.name for pool in client.read_work_pools()} == {"cpu", "gpu"}
    assert client.read_global_concurrency_limit_by_name("gpu").limit == max(GPUS, 1)


def _trigger_over_http(services, deployment, parameters, **others):
    return httpx.post(
        f"{services['prefect_api']}/deployments/{deployment}/create_flow_run",
        json={"parameters": parameters, **others},
        timeout=300,
    )


def _ended(client, run):
    """Wait for the end of a run."""
    return wait_for(lambda: (found := client.read_flow_run(run)).state.is_final() and found)


@pytest.fixture(scope="module")
def images(official_file):
    with np.load(official_file) as arrays:
        return {name: array[: IMAGES[name.split("_")[0]]] for name, array in arrays.items()}


@pytest.fixture(scope="module")
def small(images, tmp_path_factory):
    """A file of one's own, with images enough to tell a foreign picture from an X-ray."""
    file = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(file, **images)
    return file


@pytest.fixture(scope="module")
def form(small):
    return {"dataset": {"path": str(small)}} | SMALL


@pytest.fixture(scope="module", autouse=True)
def begun(services, environment, client, form):
    """Runs of deployments that have values of their own, all triggered at once, since much of it is waiting."""
    (follow,) = [each for each in client.read_automations() if each.name == "Index anew for a new champion"]
    client.pause_automation(follow.id)  # with all images
    with (
        deployment_like(client, "pipeline/pipeline", form) as (pipeline, name),
        deployment_like(client, "champion/champion", OWN) as (champion, champion_name),
        temporary_settings({PREFECT_API_URL: services["prefect_api"]}),
    ):
        gpu = None if GPUS else run_deployment("reports/reports-medgemma", timeout=0).id
        answer = _trigger_over_http(services, pipeline, GIVEN)
        assert answer.status_code == 201, answer.text
        wrong = _trigger_over_http(services, champion, WRONG, enforce_parameter_schema=False)
        _trigger_over_http(services, champion, REASON)
        soon = datetime.now(UTC) + timedelta(seconds=30)  # to come, also where the server is slow
        clock = IntervalSchedule(interval=timedelta(days=9), anchor_date=soon)
        schedule = DeploymentScheduleCreate(schedule=clock, active=True, parameters=REASON)
        client.create_deployment_schedules(champion, [schedule])
        client.request("POST", f"/deployments/{champion}/schedule", json={"max_runs": 1, "min_runs": 1})
        automation = client.create_automation(
            AutomationCore(
                name=WORD,
                trigger=EventTrigger(expect={WORD}, posture=Posture.Reactive, threshold=1),
                actions=[RunDeployment(source="selected", deployment_id=champion, parameters=REASON)],
            )
        )
        command = [Path(sys.executable).parent / "prefect", "deployment", "run", champion_name]
        ways = {"PREFECT_API_URL": services["prefect_api"], "NO_PROXY": "127.0.0.1"}
        subprocess.run(
            [*command, "--params", json.dumps(REASON)], env=environment | ways, check=True, capture_output=True
        )
        _tell(client)
        yield SimpleNamespace(
            gpu=gpu, pipeline=answer.json()["id"], name=name, wrong=wrong.json()["id"], champion=champion
        )
        client.delete_automation(automation)


def _tell(client):
    """Let the automation act."""
    event = Event(event=WORD, resource={"prefect.resource.id": WORD}).model_dump(mode="json")
    client.request("POST", "/events", json=[event])


def test_no_run_is_lost_where_many_are_triggered_at_once(services, client, begun):
    """Each on a connection of its own, to a server that is at work: it writes events for each."""
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
    with deployment_like(client, "search/search", {}) as (deployment, _), ThreadPoolExecutor(30) as pool:
        for together in (9, 9, 9, 30):
            answers = list(
                pool.map(lambda _: _trigger_over_http(services, deployment, {}, state=later), range(together))
            )
            assert [answer.status_code for answer in answers] == [201] * together
            assert len({answer.json()["id"] for answer in answers}) == together


@pytest.fixture(scope="module")
def gpu_worker(environment, client, begun):
    """A worker of the pool `gpu`, once the run that needs it is late."""
    if GPUS:
        pytest.skip("needs a machine without a GPU")
    late = wait_for(lambda: (state := client.read_flow_run(begun.gpu).state).message and state)
    python = (sys.executable, "-m")
    with Path(environment["OUTPUTS"], "services", "gpu-worker.log").open("w") as log:
        worker = subprocess.Popen(
            [*python, "deployments.containers.enter", *python, "deployments.local.worker", "start", "--pool", "gpu"],
            cwd=CHECKOUT,
            env=environment | {"PNEUMONIA_PROJECT": str(CHECKOUT)},
            stdout=log,
            stderr=log,
        )
    try:
        yield late
    finally:
        end(worker)


def test_a_run_that_waits_for_a_gpu_says_so(services, gpu_worker):
    assert "There is no GPU here" in services["printed"]
    assert (gpu_worker.type, gpu_worker.name) == (StateType.SCHEDULED, "Late")
    assert "`gpu` needs one on a machine with a GPU" in gpu_worker.message


def test_however_a_run_is_started_it_keeps_the_deployments_other_values(client, begun):
    """Over HTTP, from the shell, by a schedule, by an automation; its classifier, which is not there, is told."""
    made = DeploymentFilter(id=DeploymentFilterId(any_=[begun.champion]))
    early = FlowRunFilter(
        id=FlowRunFilterId(not_any_=[begun.wrong]),
        expected_start_time={"before_": datetime.now(UTC) + timedelta(days=1)},
    )

    def started():
        runs = client.read_flow_runs(deployment_filter=made, flow_run_filter=early)
        by_automation = [run for run in runs if run.created_by and run.created_by.type == "AUTOMATION"]
        if not by_automation:
            _tell(client)  # again, until the server has loaded the automation
        return by_automation and any("auto-scheduled" in run.tags for run in runs) and len(runs) >= 4 and runs

    for run in wait_for(started, pause=10):
        ended = _ended(client, run.id)
        assert ended.parameters == {"champion": {"name": "nobodys-classifier", "reason": "given"}}
        assert ended.name == "reason given"  # what differs from the deployment's values
        assert "nobodys-classifier" in ended.state.message


def test_a_run_with_wrong_parameters_ends_with_one_sentence(client, begun):
    """Where the server lets them pass, as it does those of a schedule."""
    state = _ended(client, begun.wrong).state
    assert (state.name, state.message) == ("Failed", "champion.name is 3: input should be a valid string.")


@pytest.fixture(scope="module")
def ended(client, begun):
    """The run of the pipeline."""
    run = _ended(client, begun.pipeline)
    assert run.state.is_completed(), run.state
    return run


@pytest.fixture(scope="module")
def summary(environment, ended):
    return _read(environment, "summary.json")


@pytest.fixture(scope="module")
def again(begun, summary):
    """The same run again, which is under way."""
    return run_deployment(begun.name, parameters=GIVEN, timeout=0)


def test_a_run_keeps_what_it_was_not_given(services, client, form, ended, summary, again):
    form = {key: form[key] | GIVEN.get(key, {}) for key in form}
    assert ended.parameters == form  # as its page shows
    assert ended.name == "seed 3 · 3 cases"  # beside the values of the deployment
    mlflow = MlflowClient(services["mlflow"])
    experiment = mlflow.get_experiment_by_name("pneumonia/pipeline").experiment_id
    (tracked,) = mlflow.search_runs([experiment], f"tags.`prefect.flow_run_id` = '{ended.id}'")
    assert tracked.info.status == "FINISHED"
    assert tracked.info.run_name == ended.name
    for part, fields in form.items():
        for field, value in fields.items():
            assert tracked.data.params[f"{part}.{field}"] == str(value)
    assert tracked.data.metrics["reports/count"] == GIVEN["reports"]["cases"]
    assert tracked.data.tags["prefect.flow_run_url"].startswith(services["prefect_api"].removesuffix("/api"))
    with client_of(services["prefect_api"]):
        page = page_of(str(ended.id))
    assert re.search(rf"\[MLflow run\]\({services['mlflow']}[^)]*{tracked.info.run_id}", page)
    run_id = summary["classification"]["mlflow_run_id"]
    figures = mlflow.list_artifacts(run_id, "figures")
    assert {"figures/grad_cam.png", "figures/conformal_coverage.png"} <= {figure.path for figure in figures}
    picture_of = f"{services['mlflow']}/get-artifact?path={figures[0].path}&run_uuid={run_id}"
    with urllib.request.urlopen(picture_of, timeout=60) as picture:
        assert picture.read(8) == b"\x89PNG\r\n\x1a\n"


def test_runs_from_the_shell_go_to_the_services_while_they_are_up(services, environment):
    command = [
        sys.executable,
        "-c",
        "import flows, os; print(os.environ['PREFECT_API_URL'], os.environ['MLFLOW_TRACKING_URI'])",
    ]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [services["prefect_api"], services["mlflow"]]


def test_up_again_keeps_what_people_changed_and_a_reset_does_not(services, environment, client):
    def read():
        found = client.read_deployment_by_name("retrieval/retrieval-nightly")
        return found.id, found.parameters, set(found.tags), found.schedules

    identity, *first = read()
    client.update_deployment(identity, DeploymentUpdate(parameters={"retrieval": {"galleries": 3}}, tags=["mine"]))
    client.update_deployment_schedule(identity, first[-1][0].id, active=True)
    _, *changed = read()
    registered = environment | {"PREFECT_API_URL": services["prefect_api"]}
    done = call("register", registered)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert read()[1:] == tuple(changed)
    done = call("register", registered, "--reset")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert read()[1:3] == tuple(first[:2])
    assert not read()[3][0].active


def test_a_worker_that_comes_later_takes_the_run_that_waits_for_a_gpu(client, begun, gpu_worker):
    state = _ended(client, begun.gpu).state
    assert state.name == "Failed"
    assert "Traceback" not in state.message
    assert len(state.message.splitlines()) == 1


# These look at what that run made, while the same run goes on again.
from tests.e2e.page import (  # noqa: E402, F401
    test_a_bad_file_alone_starts_nothing,
    test_an_x_ray_that_is_dropped_is_looked_at,
    test_another_site_cannot_use_it_through_a_persons_browser,
    test_earlier_runs_are_listed,
    test_its_neighbours_and_files_can_be_opened,
    test_on_a_phone_and_in_the_dark,
    test_the_page_is_one_of_the_services,
    test_with_the_keyboard_alone_one_foreign_picture_is_flagged_and_one_bad_file_is_a_sentence,
)


def test_the_next_run_is_all_hits(environment, client, summary, again):
    state = _ended(client, again.id).state
    assert state.is_completed(), state
    second = _read(environment, "summary.json")
    assert second["flow_run_id"] == str(again.id)
    assert second["tasks"]["executed"] == 0, second["tasks"]["steps"]
    assert second["tasks"]["cached"] == summary["tasks"]["executed"] + summary["tasks"]["cached"]


def test_servers_do_not_wait_for_ever_for_clients_that_are_silent(silent):
    for clients in silent:
        clients.require_left()


def test_no_secret_is_in_a_file_a_database_or_a_list_of_processes(
    services, environment, begun, client, gpu_worker, again
):
    """After runs that needed one and failed, after runs that did not, and beside alerts."""
    with connect(f"{services['prefect_api'].replace('http', 'ws', 1)}/events/in") as socket:  # not asked for a login
        socket.send(json.dumps({"type": "auth", "token": SECRETS["PREFECT_API_AUTH_STRING"]}))
        log = Path(environment["OUTPUTS"], "services", "prefect.log")
        wait_for(lambda: "validation errors for Event" in log.read_text())
    for run in (*([] if GPUS else [begun.gpu]), again.id):
        _ended(client, run)
    encoded = [base64.b64encode(value.encode()).decode().rstrip("=") for value in SECRETS.values()]
    words = [
        *SECRETS.values(),
        *encoded,
        urlsplit(environment["ALERTS_WEBHOOK"]).path,
        SECRETS["PREFECT_API_AUTH_STRING"].partition(":")[2],
    ]
    assert canary.holding([Path(environment["OUTPUTS"])], words) == []
    for process in left_running(environment):
        with contextlib.suppress(psutil.Error):  # one that has just ended
            assert not [word for word in words if word in " ".join(process.cmdline())]


@pytest.mark.skipif(sys.platform != "linux", reason="the heaps are glibc's")
def test_the_threads_of_the_prefect_server_share_one_heap(services, environment):
    """After all these runs: heaps of their own would let it grow with each."""
    assert thread_heaps(process_of("prefect", Path(environment["OUTPUTS"])).pid) == 0


def test_what_has_died_is_started_again_at_its_old_address(services, environment):
    outputs = Path(environment["OUTPUTS"])
    kill("page", outputs)
    done = call("up", environment | {"PAGE_PORT": "1"})
    assert done.returncode == 0, done.stderr
    assert "What had died was started again: page." in done.stdout
    assert services["page"] in done.stdout
    listening = [each.laddr for each in process_of("page", outputs).net_connections("tcp") if each.status == "LISTEN"]
    assert [(each.ip, each.port) for each in listening] == [("127.0.0.1", int(environment["PAGE_PORT"]))]
    assert psutil.Process(process_of("page", outputs).pid).memory_info().rss < 1 << 30
