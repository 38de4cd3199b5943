"""One training, cancelled, killed and cut off from its servers.

The tests follow each other: each goes on with the training that the one before interrupted.
"""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment

from deployments.automations.definitions import register
from tasks.parameters.presets import PRESETS
from tests.conftest import CHECKOUT
from tests.e2e.client import client_of
from tests.e2e.services import call, kill, running, service_environment, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.expected_in_logs(
        "a run was ended", "a server was killed", "a worker ended while it polled", "an event came twice"
    ),
]
WINDOW_SECONDS = 45  # the least there is
EPOCHS = 40  # to be cut in three places
FORM = {
    "dataset": PRESETS["debug"]["dataset"],
    "training": PRESETS["debug"]["training"] | {"epochs": EPOCHS},
    "evaluation": PRESETS["debug"]["evaluation"] | {"label_folds": 0},
}
HOLD_A_SLOT = """
import time
import flows
from tasks.execution.gpu import gpu_slot
with gpu_slot():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory, official_file):
    folder = tmp_path_factory.mktemp("recovery") / "outputs"
    return service_environment(folder, official_file.parent, HEARTBEAT_WINDOW=str(WINDOW_SECONDS))


@pytest.fixture(scope="module")
def services(environment, server_logs):
    with running(environment, server_logs) as notes, client_of(notes["prefect_api"]):
        yield notes


@pytest.fixture(scope="module")
def outputs(environment):
    return Path(environment["OUTPUTS"])


@pytest.fixture
def prefect(services):
    with SyncPrefectClient(services["prefect_api"]) as client:
        yield client


def _up(environment):
    done = call("up", environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _deployment(client, name):
    (found,) = client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])))
    return found


def _tracked(services):
    """The status of every MLflow run, by the name of its experiment and in the order of their starts."""
    client = MlflowClient(services["mlflow"])
    names = {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}
    runs = client.search_runs(list(names), order_by=["attributes.start_time"])
    return [(names[run.info.experiment_id].removeprefix("pneumonia/"), run.info.status) for run in runs]


def _epoch(outputs):
    """The last epoch that is kept."""
    kept = (outputs / "store" / "checkpoints").glob("train-classifier/*/epoch-*.safetensors")
    return max((int(path.name.split("-")[1]) for path in kept), default=0)


def _ledger(outputs):
    return [json.loads(path.read_text()) for path in (outputs / "store" / "ledger").glob("*/*.json")]


def _final(client, flow_run_id):
    state = client.read_flow_run(flow_run_id).state
    return state if state.is_final() else None


def test_a_cancelled_run_ends_within_seconds_and_everything_says_so(services, outputs, prefect):
    run = run_deployment("pipeline/pipeline", parameters=PRESETS["debug"] | FORM, timeout=0)
    wait_for(lambda: _epoch(outputs) >= 2, 240)
    prefect.set_flow_run_state(run.id, State(type=StateType.CANCELLING, name="Cancelling"))  # what the UI sends
    wait_for(lambda: _final(prefect, run.id), 60)
    assert {run.state.name for run in prefect.read_flow_runs()} == {"Cancelled"}  # and that of the subflow
    assert _tracked(services) == [("pipeline", "KILLED"), ("classification", "KILLED")]
    (worker,) = [entry for entry in services["processes"] if entry["name"] == "cpu-worker"]
    assert not psutil.Process(worker["pid"]).children(recursive=True)
    assert 2 <= _epoch(outputs) < EPOCHS


def test_what_a_dead_machine_leaves_is_found_and_its_slots_are_free(services, environment, outputs, prefect):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_SLOT], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    assert prefect.read_global_concurrency_limit_by_name("gpu").active_slots == 1

    before = _epoch(outputs)
    run = run_deployment("classification/classification", parameters=FORM, timeout=0)
    wait_for(lambda: _epoch(outputs) > before, 240)
    kill("cpu-worker", outputs)
    assert prefect.read_flow_run(run.id).state.is_running()
    assert _tracked(services)[2:] == [("classification", "RUNNING")]  # nobody was left to say otherwise
    assert _epoch(outputs) < EPOCHS

    state = wait_for(lambda: _final(prefect, run.id), WINDOW_SECONDS + 20)
    assert state.is_crashed(), state
    assert f"No sign of life for {WINDOW_SECONDS} s" in state.message
    wait_for(lambda: prefect.read_global_concurrency_limit_by_name("gpu").active_slots == 0, 90)


def test_a_run_survives_that_its_servers_are_killed_and_started_again(
    services, environment, outputs, prefect, monkeypatch
):
    monkeypatch.setenv("HEARTBEAT_WINDOW", "120")  # longer than the servers are away
    register()
    assert "What had died was started again: cpu-worker." in _up(environment)
    before = _epoch(outputs)
    run = run_deployment("classification/classification", parameters=FORM, timeout=0)
    wait_for(lambda: _epoch(outputs) > before, 240)
    nightly = _deployment(prefect, "retrieval-nightly")
    prefect.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=True)  # by a person, in the UI
    kill("prefect", outputs)
    kill("mlflow", outputs)
    told = _up(environment | {"HEARTBEAT_WINDOW": "120"})
    assert "What had died was started again: prefect, mlflow." in told
    assert [schedule.active for schedule in _deployment(prefect, "retrieval-nightly").schedules] == [True]

    state = wait_for(lambda: _final(prefect, run.id), 200)
    assert state.is_completed(), state
    assert _tracked(services)[2:] == [("classification", "KILLED"), ("classification", "FINISHED")]
    steps = [entry["step"] for entry in _ledger(outputs) if not entry["hit"]]
    assert len(steps) == len(set(steps)), "what was finished was done again"
    log = (outputs / "services" / "cpu-worker.log").read_text()
    assert log.count(f"epoch 1 of {EPOCHS}") == 1, "the training began anew"
    client = MlflowClient(services["mlflow"])
    (tracked,) = client.search_runs(
        [client.get_experiment_by_name("pneumonia/classification").experiment_id], "attributes.status = 'FINISHED'"
    )
    curve = client.get_metric_history(tracked.info.run_id, "train/loss")
    assert [metric.step for metric in curve] == list(range(1, EPOCHS + 1))


def test_a_run_goes_on_when_its_worker_alone_is_killed(services, environment, outputs, prefect):
    short = FORM | {"training": FORM["training"] | {"seed": 1, "epochs": 4}}
    run = run_deployment("classification/classification", parameters=short, timeout=0)
    log = outputs / "services" / "cpu-worker.log"
    wait_for(lambda: "epoch 2 of 4:" in log.read_text(), 240)
    notes = json.loads((outputs / "services.json").read_text())
    (worker,) = [psutil.Process(entry["pid"]) for entry in notes["processes"] if entry["name"] == "cpu-worker"]
    members = worker.children(recursive=True)
    worker.kill()
    worker.wait(timeout=10)
    assert [member for member in members if member.is_running()]

    state = wait_for(lambda: _final(prefect, run.id), 400)
    assert state.is_completed(), state
    assert _tracked(services)[-1] == ("classification", "FINISHED")
    assert "epoch 4 of 4:" not in log.read_text()  # which only the worker could write
    assert "What had died was started again: cpu-worker." in _up(environment)
