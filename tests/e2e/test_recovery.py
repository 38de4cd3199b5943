"""A machine that dies in the middle of a run, and what the server does by itself then and on other events."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.deployments import run_deployment
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed, Running

from deployments.automations import register
from tasks import events
from tasks.parameters import PRESETS
from tests.conftest import CHECKOUT
from tests.e2e.test_services import _free_port

pytestmark = pytest.mark.e2e
WINDOW_SECONDS = 45  # the least there is
FORM = {name: PRESETS["debug"][name] for name in ("dataset", "training", "evaluation")}
FORM["training"] = FORM["training"] | {"epochs": 4}
HOLD_A_SLOT = """
import time
import flows
from tasks.gpu import gpu_slot
with gpu_slot():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory, official_file):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return kept | {
        "OUTPUTS": str(tmp_path_factory.mktemp("recovery") / "outputs"),
        "DATA": str(official_file.parent),
        "PREFECT_PORT": str(_free_port()),
        "MLFLOW_PORT": str(_free_port()),
        "HEARTBEAT_WINDOW": str(WINDOW_SECONDS),
    }


@pytest.fixture(scope="module")
def services(environment):
    command = [sys.executable, "-m", "deployments.services"]
    try:
        done = subprocess.run([*command, "up"], cwd=CHECKOUT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        notes = json.loads(Path(environment["OUTPUTS"], "services.json").read_text())
        with temporary_settings({PREFECT_API_URL: notes["prefect_api"]}):
            yield notes
    finally:
        subprocess.run([*command, "down"], cwd=CHECKOUT, env=environment, check=True)


@pytest.fixture
def prefect(services):
    with SyncPrefectClient(services["prefect_api"]) as client:
        yield client


def _wait_for(what, seconds):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.5)
    return found


def _deployment(client, name):
    (found,) = client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])))
    return found


def _tracked(services, flow_run_id):
    client = MlflowClient(services["mlflow"])
    experiment = client.get_experiment_by_name("pneumonia/classification").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`prefect.flow_run_id` = '{flow_run_id}'")
    return run.info.status


def _kill(process):
    for member in [*process.children(recursive=True), process]:
        member.send_signal(signal.SIGKILL)


def test_what_a_dead_machine_leaves_is_found_and_goes_on_elsewhere(services, environment, prefect, monkeypatch):
    outputs = Path(environment["OUTPUTS"])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_SLOT], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    assert prefect.read_global_concurrency_limit_by_name("gpu").active_slots == 1

    run = run_deployment("classification/classification", parameters=FORM, timeout=0)
    _wait_for(lambda: list((outputs / "store" / "checkpoints").glob("*/*/epoch-00001-*.safetensors")), 240)
    (worker,) = [entry for entry in services["processes"] if entry["name"] == "cpu-worker"]
    _kill(psutil.Process(worker["pid"]))
    assert prefect.read_flow_run(run.id).state.is_running()
    assert _tracked(services, run.id) == "RUNNING"  # nobody was left to say otherwise
    finished = {entry["step"] for entry in _ledger(outputs)}
    assert "prepare-dataset" in finished
    assert "train-classifier" not in finished

    state = _wait_for(lambda: _final(prefect, run.id), WINDOW_SECONDS + 20)
    assert state.is_crashed(), state
    assert f"No sign of life for {WINDOW_SECONDS} s" in state.message
    _wait_for(lambda: prefect.read_global_concurrency_limit_by_name("gpu").active_slots == 0, 90)

    monkeypatch.setenv("HEARTBEAT_WINDOW", "90")  # where the tests share two cores, a live run may be late
    register()
    variables = environment | {"PREFECT_API_URL": services["prefect_api"], "MLFLOW_TRACKING_URI": services["mlflow"]}
    variables |= {"PNEUMONIA_PROJECT": str(CHECKOUT), "PREFECT_HOME": str(outputs / "prefect")}
    variables |= {"PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(outputs / "results")}
    command = [str(Path(sys.executable).parent / "prefect"), "worker", "start", "--pool", "cpu", "--name", "other"]
    with (outputs / "services" / "other.log").open("w") as log:
        other = subprocess.Popen(command, cwd=CHECKOUT, env=variables, stdout=log, stderr=log)
        try:
            again = run_deployment("classification/classification", parameters=FORM, timeout=200, poll_interval=1)
        finally:
            _kill(psutil.Process(other.pid))
            other.wait()
    assert again.state.is_completed(), again.state
    assert _tracked(services, again.id) == "FINISHED"
    assert _tracked(services, run.id) == "KILLED"
    hits = {entry["step"] for entry in _ledger(outputs) if entry["hit"]}
    assert finished <= hits
    assert "train-classifier" not in hits


def _ledger(outputs):
    return [json.loads(path.read_text()) for path in (outputs / "store" / "ledger").glob("*/*.json")]


def _final(client, flow_run_id):
    state = client.read_flow_run(flow_run_id).state
    return state if state.is_final() else None


def test_a_new_champion_starts_the_retrieval_with_it(services, prefect):
    """No worker is left, so that the run only waits for one."""
    retrieval = _deployment(prefect, "retrieval")
    events.champion_changed("other-classifier", 2, "It is better.")  # is none of its business
    events.champion_changed("pneumonia-classifier", 2, "It is better.")
    EventsWorker.instance().wait_until_empty()
    runs = _wait_for(lambda: [run for run in prefect.read_flow_runs() if run.deployment_id == retrieval.id], 30)
    time.sleep(2)
    assert len([run for run in prefect.read_flow_runs() if run.deployment_id == retrieval.id]) == 1
    assert runs[0].parameters["retrieval"]["classifier"] == "champion"


@pytest.mark.parametrize(("tags", "paused"), [([], False), (["auto-scheduled"], True)])
def test_three_failed_runs_of_a_schedule_pause_it_and_those_of_a_person_do_not(services, prefect, tags, paused):
    deployment = _deployment(prefect, "pipeline")
    for _ in range(3):
        run = prefect.create_flow_run_from_deployment(deployment.id, tags=tags)
        for state in (Running(), Failed()):
            prefect.set_flow_run_state(run.id, state, force=True)
    if paused:
        _wait_for(lambda: prefect.read_deployment(deployment.id).paused, 30)
    else:
        time.sleep(5)
        assert not prefect.read_deployment(deployment.id).paused
