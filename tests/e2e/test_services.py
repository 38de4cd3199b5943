"""The services as a person uses them: up, a run triggered through the API, its products, down."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.services import GPUS
from tasks.parameters import PRESETS
from tests.conftest import CHECKOUT

pytestmark = pytest.mark.e2e
NO_WAY = "http://127.0.0.1:9"  # a proxy that leads nowhere: what is on this machine is reached without one


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory, official_file):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return kept | {
        "OUTPUTS": str(tmp_path_factory.mktemp("services") / "outputs"),
        "DATA": str(official_file.parent),
        "PREFECT_PORT": str(_free_port()),
        "MLFLOW_PORT": str(_free_port()),
        "HTTP_PROXY": NO_WAY,
        "HTTPS_PROXY": NO_WAY,
    }


def _services(action, environment):
    command = [sys.executable, "-m", "deployments.services", action]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300)


def left_running(environment):
    """The processes that work on the outputs of these services."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("OUTPUTS") == environment["OUTPUTS"]:
                found.append(process)
    return found


def _read(environment, name):
    return json.loads(Path(environment["OUTPUTS"], name).read_text())


@pytest.fixture(scope="module")
def services(environment, server_logs):
    server_logs.watch(Path(environment["OUTPUTS"]) / "services")
    done = _services("up", environment)
    assert done.returncode == 0, done.stderr
    notes = _read(environment, "services.json")
    try:
        yield notes | {"printed": done.stdout}
    finally:
        assert _services("down", environment).returncode == 0
        assert not left_running(environment)
        assert "Nothing was running." in _services("down", environment).stdout


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
    done = _services("up", environment)
    assert done.returncode == 0
    assert "up already" in done.stdout
    assert _read(environment, "services.json")["processes"] == services["processes"]


def test_a_taken_port_is_one_sentence(services, environment, tmp_path):
    done = _services("up", environment | {"OUTPUTS": str(tmp_path)})
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


def _trigger(services, form):
    with temporary_settings({PREFECT_API_URL: services["prefect_api"]}):
        run = run_deployment("pipeline/pipeline", parameters=form, timeout=400, poll_interval=1)
    assert run.state.is_completed(), run.state
    return run


def test_a_run_triggered_with_a_changed_form_is_found_in_mlflow_and_the_next_is_all_hits(services, environment):
    form = PRESETS["debug"] | {"reports": PRESETS["debug"]["reports"] | {"cases": 5}}
    run = _trigger(services, form)
    client = MlflowClient(services["mlflow"])
    experiment = client.get_experiment_by_name("pneumonia/pipeline").experiment_id
    (tracked,) = client.search_runs([experiment], f"tags.`prefect.flow_run_id` = '{run.id}'")
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["reports.cases"] == "5"
    assert tracked.data.metrics["reports/count"] == 5
    assert tracked.data.tags["prefect.flow_run_url"].startswith(services["prefect_api"].removesuffix("/api"))
    with SyncPrefectClient(services["prefect_api"]) as prefect:
        artifacts = prefect.read_artifacts(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    links = [artifact.data for artifact in artifacts if artifact.key == "mlflow-run"]
    assert any(tracked.info.run_id in link and link.startswith(f"[MLflow run]({services['mlflow']}") for link in links)
    summary = _read(environment, "summary.json")
    figures = client.list_artifacts(summary["classification"]["mlflow_run_id"], "figures")
    assert {"figures/grad_cam.png", "figures/conformal_coverage.png"} <= {figure.path for figure in figures}
    run_id = summary["classification"]["mlflow_run_id"]
    address = f"{services['mlflow']}/get-artifact?path={figures[0].path}&run_uuid={run_id}"
    with urllib.request.urlopen(address, timeout=10) as picture:
        assert picture.read(8) == b"\x89PNG\r\n\x1a\n"

    again = _trigger(services, form)
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
        assert (state.type, state.name) == (StateType.SCHEDULED, "AwaitingGPU")
        assert "`gpu` has taken this run: it waits for a machine with a GPU" in state.message
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "gpu", "--limit", "1"],
            cwd=CHECKOUT,
            env=environment | {"PREFECT_API_URL": services["prefect_api"], "MLFLOW_TRACKING_URI": services["mlflow"]}
            | {"PNEUMONIA_PROJECT": str(CHECKOUT), "PREFECT_HOME": f"{environment['OUTPUTS']}/gpu-worker"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            state = _state(client, run, lambda state: state.is_final())
        finally:
            worker.terminate()
            worker.wait(timeout=60)
    assert state.name == "Failed"
    assert "Traceback" not in state.message
    assert len(state.message.splitlines()) == 1


def _state(client, run, when):
    deadline = time.monotonic() + 180
    while not when(state := client.read_flow_run(run.id).state):
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    return state
