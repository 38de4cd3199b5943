"""One training on a machine that dies, cancelled, and cut off from its servers; another whose worker is killed.

The tests follow each other: the first goes on where the one before interrupted it. Meanwhile the time passes after
which what the dead machine left is found.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment

from deployments.automations.definitions import register
from tasks.parameters.presets import PRESETS
from tests.conftest import CHECKOUT
from tests.e2e.client import client_of
from tests.e2e.services import call, deployment_like, kill, process_of, running, service_environment, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.expected_in_logs(
        "a run was ended", "a server was killed", "a worker ended while it polled", "an event came twice"
    ),
]
WINDOW_SECONDS = 90  # the least that keeps runs which live from being taken for dead where all is slow
AWAY_SECONDS = "1200"  # longer than servers are away that are killed, also where it takes minutes to start them
EPOCHS = 40  # to be cut in three places
FORM = {
    "dataset": PRESETS["debug"]["dataset"],
    "training": PRESETS["debug"]["training"] | {"epochs": EPOCHS},
    "evaluation": PRESETS["debug"]["evaluation"] | {"bootstrap_samples": 50, "explained_images": 4, "label_folds": 0},
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


@pytest.fixture(scope="module")
def prefect(services):
    with SyncPrefectClient(services["prefect_api"]) as client:
        yield client


def _up(environment):
    done = call("up", environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


def _worker_log(outputs):
    return (outputs / "services" / "cpu-worker.log").read_text()


def _training(outputs, deployment, parameters=FORM):
    """A run of a deployment that has gone on with the training."""
    before = _epoch(outputs)
    run = run_deployment(deployment, parameters=parameters, timeout=0)
    wait_for(lambda: _epoch(outputs) > before, pause=0.1)
    return run


def _final(client, run):
    state = client.read_flow_run(run.id).state
    return state if state.is_final() else None


@pytest.fixture(scope="module")
def dead(services, environment, outputs, prefect):
    """The run of a machine that has died, and with it a process that held the GPU."""
    command = [sys.executable, "-c", HOLD_A_SLOT]
    holder = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    run = _training(outputs, "classification/classification")
    wait_for(
        lambda: f"epoch 1 of {EPOCHS}:" in _worker_log(outputs), pause=0.1
    )  # an epoch is kept before it is told of
    kill("cpu-worker", outputs)
    holder.kill()
    holder.communicate()
    return run


def test_a_dead_machine_leaves_a_run_and_a_slot(services, outputs, prefect, dead):
    assert prefect.read_flow_run(dead.id).state.is_running()
    assert _tracked(services) == [("classification", "RUNNING")]  # nobody was left to say otherwise
    assert prefect.read_global_concurrency_limit_by_name("gpu").active_slots == 1
    assert 1 <= _epoch(outputs) < EPOCHS


def test_a_cancelled_run_ends_within_seconds_and_everything_says_so(services, environment, outputs, prefect, dead):
    assert "What had died was started again: cpu-worker." in _up(environment)
    run = _training(outputs, "pipeline/pipeline", PRESETS["debug"] | FORM)
    prefect.set_flow_run_state(run.id, State(type=StateType.CANCELLING, name="Cancelling"))  # what the UI sends
    wait_for(lambda: _final(prefect, run))
    states = [each.state.name for each in prefect.read_flow_runs() if each.id != dead.id]
    assert states == ["Cancelled"] * 2  # and that of the subflow
    assert _tracked(services) == [("classification", "KILLED"), ("pipeline", "KILLED"), ("classification", "KILLED")]
    wait_for(lambda: not process_of("cpu-worker", outputs).children(recursive=True))
    assert 2 <= _epoch(outputs) < EPOCHS


def test_a_run_goes_on_when_its_worker_alone_is_killed(services, environment, outputs, prefect):
    short = FORM | {"training": FORM["training"] | {"seed": 1, "epochs": 12}}
    with deployment_like(prefect, "classification/classification", {}) as (_, name):  # the dead run has its turn still
        run = run_deployment(name, parameters=short, timeout=0)
        wait_for(lambda: "epoch 2 of 12:" in _worker_log(outputs), pause=0.1)
        worker = process_of("cpu-worker", outputs)
        members = worker.children(recursive=True)
        worker.kill()
        worker.wait(timeout=60)
        assert [member for member in members if member.is_running()]
        state = wait_for(lambda: _final(prefect, run))
    assert state.is_completed(), state
    assert _tracked(services)[-1] == ("classification", "FINISHED")
    assert "epoch 12 of 12:" not in _worker_log(outputs)  # which only the worker could write
    assert "What had died was started again: cpu-worker." in _up(environment)


def test_the_run_of_a_dead_machine_is_found(prefect, dead):
    state = wait_for(lambda: _final(prefect, dead))
    assert state.is_crashed(), state
    assert f"No sign of life for {WINDOW_SECONDS} s" in state.message


def test_a_run_survives_that_its_servers_are_killed_and_started_again(
    services, environment, outputs, prefect, monkeypatch
):
    monkeypatch.setenv("HEARTBEAT_WINDOW", AWAY_SECONDS)
    register()
    nightly = prefect.read_deployment_by_name("retrieval/retrieval-nightly")
    prefect.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=True)  # by a person, in the UI
    run = _training(outputs, "classification/classification")
    kill("prefect", outputs)
    kill("mlflow", outputs)
    assert _epoch(outputs) < EPOCHS
    told = _up(environment | {"HEARTBEAT_WINDOW": AWAY_SECONDS})
    assert "What had died was started again: prefect, mlflow." in told
    assert [schedule.active for schedule in prefect.read_deployment(nightly.id).schedules] == [True]

    state = wait_for(lambda: _final(prefect, run))
    assert state.is_completed(), state
    assert _tracked(services)[3:] == [("classification", "FINISHED")] * 2
    same = [each.id for each in prefect.read_flow_runs() if each.parameters.get("training", {}).get("epochs") == EPOCHS]
    noted = [path for each in same for path in (outputs / "store" / "ledger" / str(each)).glob("*.json")]
    steps = [entry["step"] for entry in (json.loads(path.read_text()) for path in noted) if not entry["hit"]]
    assert "train-classifier" in steps
    assert len(steps) == len(set(steps)), "what was finished was done again"
    assert _worker_log(outputs).count(f"epoch 1 of {EPOCHS}:") == 1, "it began anew"
    client = MlflowClient(services["mlflow"])
    experiment = client.get_experiment_by_name("pneumonia/classification").experiment_id
    (tracked,) = client.search_runs([experiment], f"tags.`prefect.flow_run_id` = '{run.id}'")
    curve = client.get_metric_history(tracked.info.run_id, "train/loss")
    assert [metric.step for metric in curve] == list(range(1, EPOCHS + 1))


def test_the_slot_of_a_dead_machine_is_free(prefect, dead):
    wait_for(lambda: prefect.read_global_concurrency_limit_by_name("gpu").active_slots == 0)
