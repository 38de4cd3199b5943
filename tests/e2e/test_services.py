"""The services as a person uses them: up, a run triggered through the API, its products, down."""

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.deployments import run_deployment
from prefect.events import Event
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local.services import GPUS
from tasks.parameters.presets import PRESETS
from tests.conftest import CHECKOUT
from tests.e2e.client import client_of
from tests.e2e.services import call, end, running, service_environment
from tests.support.pages import page_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.expected_in_logs("a run without a champion", "no weights of MedGemma", "wrong parameters"),
]
NO_WAY = "http://127.0.0.1:9"  # a proxy that leads nowhere: what is on this machine is reached without one


@pytest.fixture(scope="module")
def environment(tmp_path_factory, official_file):
    folder = tmp_path_factory.mktemp("services") / "outputs"
    return service_environment(folder, official_file.parent, HTTP_PROXY=NO_WAY, HTTPS_PROXY=NO_WAY)


def _read(environment, name):
    return json.loads(Path(environment["OUTPUTS"], name).read_text())


@pytest.fixture(scope="module")
def services(environment, server_logs):
    with running(environment, server_logs) as notes:
        yield notes
    assert "Nothing was running." in call("down", environment).stdout


def test_both_addresses_are_printed_and_answer_on_loopback(services, environment):
    for port in (environment["PREFECT_PORT"], environment["MLFLOW_PORT"]):
        assert f"http://127.0.0.1:{port}" in services["printed"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
            assert "<html" in page.read().decode().lower()
    for entry in services["processes"]:
        process = psutil.Process(entry["pid"])
        for member in [process, *process.children(recursive=True)]:
            for connection in member.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip == "127.0.0.1"


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


def test_every_deployment_is_registered_with_its_description(services):
    declared = {
        entry["name"]: entry for entry in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    }
    with SyncPrefectClient(services["prefect_api"]) as client:
        found = {deployment.name: deployment for deployment in client.read_deployments()}
    assert found.keys() == declared.keys()
    for name, deployment in found.items():
        assert deployment.description == " ".join(declared[name]["description"].split())
        assert deployment.work_pool_name == ("gpu" if name == "reports-medgemma" else "cpu")
        assert not any(schedule.active for schedule in deployment.schedules)
    assert found["pipeline"].schedules
    assert found["pipeline-quickstart"].parameters == PRESETS["quickstart"]


def test_the_worker_has_polled_when_up_says_that_all_is_up(services):
    with SyncPrefectClient(services["prefect_api"]) as client:
        (worker,) = client.request("POST", "/work_pools/cpu/workers/filter", json={}).json()
    assert (worker["name"], worker["status"]) == ("cpu-1", "ONLINE")


def test_the_gpu_has_a_pool_and_a_strict_limit(services):
    with SyncPrefectClient(services["prefect_api"]) as client:
        assert {pool.name for pool in client.read_work_pools()} == {"cpu", "gpu"}
        assert client.read_global_concurrency_limit_by_name("gpu").limit == max(GPUS, 1)


@contextlib.contextmanager
def _deployment(services, like, own):
    """A deployment as one that is registered, with a name and values of its own."""
    flow, _, name = like.partition("/")
    with SyncPrefectClient(services["prefect_api"]) as client:
        known = client.read_deployment_by_name(like)
        made = client.create_deployment(
            known.flow_id,
            f"{name}-of-a-test",
            entrypoint=known.entrypoint,
            pull_steps=known.pull_steps,
            parameters=own,
            parameter_openapi_schema=known.parameter_openapi_schema,
            work_pool_name=known.work_pool_name,
            enforce_parameter_schema=True,
        )
        try:
            yield made, f"{flow}/{name}-of-a-test"
        finally:
            client.delete_deployment(made)


def _trigger_over_http(services, deployment, parameters, **others):
    return httpx.post(
        f"{services['prefect_api']}/deployments/{deployment}/create_flow_run",
        json={"parameters": parameters, **others},
        timeout=60,
    )


def _ended(client, run, seconds=400):
    """Wait for the end of a run."""
    deadline = time.monotonic() + seconds
    while not (found := client.read_flow_run(run)).state.is_final():
        assert time.monotonic() < deadline, found.state
        time.sleep(0.5)
    return found


@pytest.fixture
def debug(services):
    """A deployment of the pipeline whose own values are the preset `debug`: its id and its name."""
    with _deployment(services, "pipeline/pipeline", PRESETS["debug"]) as made:
        yield made


def test_a_run_keeps_what_it_was_not_given_and_the_next_is_all_hits(services, environment, debug):
    deployment, name = debug
    given = {"training": {"seed": 3}, "reports": {"cases": 5}}
    form = {key: PRESETS["debug"].get(key, {}) | given.get(key, {}) for key in PRESETS["debug"].keys() | given.keys()}
    answer = _trigger_over_http(services, deployment, given)
    assert answer.status_code == 201, answer.text
    with SyncPrefectClient(services["prefect_api"]) as prefect:
        run = _ended(prefect, answer.json()["id"])
    assert run.state.is_completed(), run.state
    assert run.parameters == form  # as its page shows
    assert run.name == "seed 3 · 5 cases"  # beside the values of the deployment
    client = MlflowClient(services["mlflow"])
    experiment = client.get_experiment_by_name("pneumonia/pipeline").experiment_id
    (tracked,) = client.search_runs([experiment], f"tags.`prefect.flow_run_id` = '{run.id}'")
    assert tracked.info.status == "FINISHED"
    assert tracked.info.run_name == run.name
    for part, fields in form.items():
        for field, value in fields.items():
            assert tracked.data.params[f"{part}.{field}"] == str(value)
    assert tracked.data.metrics["reports/count"] == 5
    assert tracked.data.tags["prefect.flow_run_url"].startswith(services["prefect_api"].removesuffix("/api"))
    with client_of(services["prefect_api"]):
        page = page_of(str(run.id))
    assert re.search(rf"\[MLflow run\]\({services['mlflow']}[^)]*{tracked.info.run_id}", page)
    summary = _read(environment, "summary.json")
    figures = client.list_artifacts(summary["classification"]["mlflow_run_id"], "figures")
    assert {"figures/grad_cam.png", "figures/conformal_coverage.png"} <= {figure.path for figure in figures}
    run_id = summary["classification"]["mlflow_run_id"]
    address = f"{services['mlflow']}/get-artifact?path={figures[0].path}&run_uuid={run_id}"
    with urllib.request.urlopen(address, timeout=10) as picture:
        assert picture.read(8) == b"\x89PNG\r\n\x1a\n"

    with temporary_settings({PREFECT_API_URL: services["prefect_api"]}):
        again = run_deployment(name, parameters=given, timeout=400, poll_interval=1)
    assert again.state.is_completed(), again.state
    second = _read(environment, "summary.json")
    assert second["flow_run_id"] == str(again.id)
    assert second["tasks"]["executed"] == 0, second["tasks"]["steps"]
    assert second["tasks"]["cached"] == summary["tasks"]["executed"] + summary["tasks"]["cached"]


def test_runs_from_the_shell_go_to_the_services_while_they_are_up(services, environment):
    command = [
        sys.executable,
        "-c",
        "import flows, os; print(os.environ['PREFECT_API_URL'], os.environ['MLFLOW_TRACKING_URI'])",
    ]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [services["prefect_api"], services["mlflow"]]


@pytest.mark.skipif(GPUS > 0, reason="needs a machine without a GPU")
def test_a_run_that_waits_for_a_gpu_says_so_and_a_worker_that_comes_later_takes_it(services, environment):
    assert "There is no GPU here" in services["printed"]
    with temporary_settings({PREFECT_API_URL: services["prefect_api"]}):
        run = run_deployment("reports/reports-medgemma", timeout=0)
    with SyncPrefectClient(services["prefect_api"]) as client:
        state = _state(client, run, lambda state: state.message)
        assert (state.type, state.name) == (StateType.SCHEDULED, "Late")
        assert "`gpu` needs one on a machine with a GPU" in state.message
        python = (sys.executable, "-m")
        with Path(environment["OUTPUTS"], "services", "gpu-worker.log").open("w") as log:
            worker = subprocess.Popen(
                [*python, "deployments.containers.enter", *python, "prefect", "worker", "start", "--pool", "gpu"],
                cwd=CHECKOUT,
                env=environment | {"PNEUMONIA_PROJECT": str(CHECKOUT)},
                stdout=log,
                stderr=log,
            )
        try:
            state = _state(client, run, lambda state: state.is_final())
        finally:
            end(worker)
    assert state.name == "Failed"
    assert "Traceback" not in state.message
    assert len(state.message.splitlines()) == 1


def _state(client, run, when):
    deadline = time.monotonic() + 180
    while not when(state := client.read_flow_run(run.id).state):
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    return state


OWN = {"champion": {"name": "nobodys-classifier", "reason": "own"}}
GIVEN = {"champion": {"reason": "given"}}


def test_however_a_run_is_started_it_keeps_the_deployments_other_values(services, environment):
    """Over HTTP, from the shell, by a schedule, by an automation; its classifier, which is not there, is told."""
    api = services["prefect_api"]
    with _deployment(services, "champion/champion", OWN) as (deployment, name), SyncPrefectClient(api) as client:
        _trigger_over_http(services, deployment, GIVEN)
        command = [Path(sys.executable).parent / "prefect", "deployment", "run", name, "--params", json.dumps(GIVEN)]
        ways = {"PREFECT_API_URL": api, "NO_PROXY": "127.0.0.1"}
        subprocess.run(command, env=environment | ways, check=True, capture_output=True)
        soon = datetime.now(UTC) + timedelta(seconds=15)
        clock = IntervalSchedule(interval=timedelta(days=9), anchor_date=soon)
        schedule = DeploymentScheduleCreate(schedule=clock, active=True, parameters=GIVEN)
        client.create_deployment_schedules(deployment, [schedule])
        client.request("POST", f"/deployments/{deployment}/schedule", json={"max_runs": 1, "min_runs": 1})
        word = f"test.{uuid.uuid4().hex}"
        automation = client.create_automation(
            AutomationCore(
                name=word,
                trigger=EventTrigger(expect={word}, posture=Posture.Reactive, threshold=1),
                actions=[RunDeployment(source="selected", deployment_id=deployment, parameters=GIVEN)],
            )
        )
        made = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
        early = FlowRunFilter(expected_start_time={"before_": datetime.now(UTC) + timedelta(days=1)})
        deadline = time.monotonic() + 200
        while len(runs := client.read_flow_runs(deployment_filter=made, flow_run_filter=early)) < 4:
            assert time.monotonic() < deadline, runs
            event = Event(event=word, resource={"prefect.resource.id": word}).model_dump(mode="json")
            client.request("POST", "/events", json=[event])  # again, until the server has loaded the automation
            time.sleep(10)
        for run in runs:
            ended = _ended(client, run.id)
            assert ended.parameters == {"champion": {"name": "nobodys-classifier", "reason": "given"}}
            assert ended.name == "champion of nobodys-classifier"
            assert "nobodys-classifier" in ended.state.message
        client.delete_automation(automation)


def test_a_run_with_wrong_parameters_ends_with_one_sentence(services):
    """Where the server lets them pass, as it does those of a schedule."""
    wrong = {
        "champio is no parameter (did you mean champion?), choose from champion.": {"champio": {}},
        "nam is no field of champion (did you mean name?), choose from name, version, reason.": {
            "champion": {"nam": 1}
        },
        "champion.name is 3: input should be a valid string.": {"champion": {"name": 3}},
    }
    with _deployment(services, "champion/champion", OWN) as (deployment, _):
        answers = {
            sentence: _trigger_over_http(services, deployment, parameters, enforce_parameter_schema=False)
            for sentence, parameters in wrong.items()
        }
        with SyncPrefectClient(services["prefect_api"]) as client:
            for sentence, answer in answers.items():
                run = _ended(client, answer.json()["id"])
                assert (run.state.name, run.state.message) == ("Failed", sentence)


def test_no_run_is_lost_where_many_are_triggered_at_once(services):
    """Each on a connection of its own, to a server that is at work: it writes events for each."""
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
    with _deployment(services, "search/search", {}) as (deployment, _), ThreadPoolExecutor(30) as pool:
        for together in (9, 9, 9, 30):
            answers = list(
                pool.map(lambda _: _trigger_over_http(services, deployment, {}, state=later), range(together))
            )
            assert [answer.status_code for answer in answers] == [201] * together
            assert len({answer.json()["id"] for answer in answers}) == together


def test_up_again_keeps_what_people_changed_and_a_reset_does_not(services, environment):
    with SyncPrefectClient(services["prefect_api"]) as client:

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
