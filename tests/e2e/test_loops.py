"""What nobody watches: each loop of both servers does its work, seen from outside, on SQLite and on PostgreSQL.

All begins at once on both, when the services are up, since most of it is waiting; the tests look what came of it.
Schedules, windows and loops are shortened by the settings that Prefect has for them; the definitions are those that
`make up` registers.
"""

import asyncio
import contextlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events import emit_event, get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED
from prefect.states import Cancelled, Paused, Running

from tasks.execution import events
from tests.conftest import CHECKOUT
from tests.e2e import alerts, services
from tests.e2e.alerts import (  # noqa: F401  its tests run here
    test_a_worse_classifier_and_drift_are_told_of,
    test_runs_that_fail_do_not_end_or_do_not_start_are_told_of_with_a_link,
    test_the_address_is_not_shown,
)
from tests.e2e.client import client_of
from tests.e2e.postgres import postgres, room_for_postgres
from tests.e2e.services import PATIENCE_SECONDS, wait_for
from tests.e2e.webhook import webhook

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.expected_in_logs("a run without a champion", "a schedule was paused", "a webhook refuses"),
    pytest.mark.timeout(1800),
]
WINDOW_SECONDS = 45  # of silence, until a run counts as crashed: the least there is
OLD = timedelta(days=8)  # the server keeps events for seven
SHORT = {  # and no shorter than the longest wait allows: to go round costs both servers their time
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT30S",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "10",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "20",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "10",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "15",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT5S",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "3",
    "HEARTBEAT_WINDOW": str(WINDOW_SECONDS),
}
SILENT = """
import time
import flows
from prefect import flow, task
from tasks.execution.gpu import gpu_slot

@task(task_run_name="a-step")
def step():
    pass

@flow(flow_run_name="silent")
def silent():
    step()
    with gpu_slot():
        print("held", flush=True)
        time.sleep(600)

silent()
"""


@contextlib.contextmanager
def _database(kind, server_logs):
    """The setting that names Prefect's database, and a question that only this one answers."""
    if kind == "sqlite":
        yield {}
        return
    secrets = {f"{name}_database_password": "secret" for name in ("prefect", "mlflow")}
    with room_for_postgres(secrets) as room:
        server_logs.watch(room, "PostgreSQL starts", "a task run was recorded already")
        with postgres(room) as server:
            address = f"postgresql+asyncpg://prefect:secret@127.0.0.1:{server.port}/prefect"
            yield {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address}
            assert int(server.query("prefect", "SELECT count(*) FROM flow_run")) > 5
        server_logs.check()


@contextlib.contextmanager
def _stack(kind, outputs, data, server_logs):
    """The services on a database, and in their server all that takes time to have an effect."""
    with _database(kind, server_logs) as database, webhook() as posts:
        variables = services.service_environment(outputs, data, ALERTS_WEBHOOK=posts[1], **SHORT, **database)
        with (
            services.running(variables, server_logs) as notes,
            SyncPrefectClient(notes["prefect_api"]) as client,
        ):
            assert (outputs / "prefect" / "prefect.db").exists() == (not database)
            if database:
                server_logs.watch(outputs / "services", "a worker was cut off", "two events were counted at once")
            begun = SimpleNamespace(client=client, posts=posts, notes=notes, outputs=outputs)
            _begin(begun, variables)
            yield begun


@pytest.fixture(scope="module")
def stacks(tmp_path_factory, official_file, server_logs):
    """Both stacks by their names, begun and ended by a thread each, since they mostly wait."""
    folder = tmp_path_factory.mktemp("loops")
    ends = {kind: contextlib.ExitStack() for kind in ("sqlite", "postgresql")}
    with ThreadPoolExecutor() as pool:
        found = {
            kind: pool.submit(end.enter_context, _stack(kind, folder / kind, official_file.parent, server_logs))
            for kind, end in ends.items()
        }
        try:
            for stack in found.values():
                if stack.exception() is None:
                    _tell(stack.result())
            yield found
        finally:
            list(pool.map(contextlib.ExitStack.close, ends.values()))


def _client_of(stack):
    return client_of(stack.notes["prefect_api"], {PREFECT_LOGGING_TO_API_ENABLED: False})


def _tell(stack):
    """Send the events of this process, which go to one server at a time."""
    with _client_of(stack):
        stack.by_hand = alerts.tell()
        events.champion_changed("other-classifier", 2, "It is better.")  # is none of the retrieval's business
        events.champion_changed("pneumonia-classifier", 2, "It is better.")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def started(request, stacks):
    stack = stacks[request.param].result()
    with _client_of(stack):
        yield stack


def _begin(begun, variables):
    client = begun.client
    client.update_work_pool("gpu", WorkPoolUpdate(is_paused=True))  # its runs do not start
    client.update_work_pool("cpu", WorkPoolUpdate(concurrency_limit=10))  # what waits there, waits for its deployment
    for automation in client.read_automations():
        if automation.name in ("Alert: a run does not end", "Alert: a run does not start"):
            definition = automation.model_dump(exclude={"id", "owner_resource"})
            definition["trigger"]["within"] = timedelta(seconds=alerts.SECONDS)
            client.update_automation(automation.id, AutomationCore(**definition))
    # As a person does on the deployments' pages.
    _register_version(begun.notes["mlflow"], "other-classifier")
    champion = client.read_deployment_by_name("champion/champion")
    soon = datetime.now(UTC) + timedelta(seconds=30)  # to come, also where the server is slow
    once = IntervalSchedule(interval=timedelta(days=1), anchor_date=soon, timezone="UTC")
    shown = {"champion": {"name": "other-classifier"}}
    schedule = {"schedule": once.model_dump(mode="json"), "active": True, "parameters": shown}
    client.request("POST", f"/deployments/{champion.id}/schedules", json=[schedule, schedule])
    client.request("POST", f"/deployments/{champion.id}/schedule", json={"max_runs": 1, "min_runs": 1})
    training = client.read_deployment_by_name("classification/classification")
    client.update_deployment_schedule(training.id, training.schedules[0].id, active=True)
    nightly = client.read_deployment_by_name("retrieval/retrieval-nightly")
    often = IntervalSchedule(interval=timedelta(seconds=10), anchor_date=datetime.now(UTC), timezone="UTC")
    client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=True, schedule=often)

    client.request("POST", "/events", json=[_event("old", datetime.now(UTC) - OLD)])
    begun.silent = subprocess.Popen(
        [sys.executable, "-c", SILENT], cwd=CHECKOUT, env=variables, stdout=subprocess.PIPE, text=True
    )
    assert begun.silent.stdout.readline() == "held\n"
    (begun.run,) = [run for run in client.read_flow_runs() if run.name == "silent"]
    wait_for(lambda: str(begun.run.id) in str(_events(client, "prefect.flow-run.heartbeat")))
    begun.slots = client.read_global_concurrency_limit_by_name("gpu").active_slots
    begun.silent.kill()
    begun.silent.communicate()

    deployment = client.read_deployment_by_name("reports/reports-medgemma").id  # of the pool in which no run starts
    begun.alerts = alerts.begin(client, deployment)
    begun.late = alerts.made(client, deployment, "late-run")
    begun.paused = alerts.made(client, deployment, "paused-run", Running(), Paused(timeout_seconds=1))
    cancelled = alerts.made(client, deployment, "cancelled-run", Running())
    step = {"flow_run_id": str(cancelled.id), "task_key": "step", "dynamic_key": "0", "state": {"type": "RUNNING"}}
    begun.step = client.request("POST", "/task_runs/", json=step).json()["id"]
    client.set_flow_run_state(cancelled.id, Cancelled(), force=True)


def _register_version(tracking, name):
    """Register a version, so that the shortest of the flows finds one to show."""
    client = MlflowClient(tracking)
    run = client.create_run(client.create_experiment("loops"))
    client.create_registered_model(name)
    tags = {"val/auc": "0.9", "threshold": "0.5", "temperature": "1", "dataset.sha256": "d"}
    client.create_model_version(name, run.info.artifact_uri, run.info.run_id, tags)


def _event(name, occurred):
    return {
        "id": str(uuid4()),
        "event": name,
        "occurred": occurred.isoformat(),
        "resource": {"prefect.resource.id": "test.loops"},
        "related": [],
        "payload": {},
    }


def _events(client, name):
    wanted = {"event": {"name": [name]}, "occurred": {"since": (datetime.now(UTC) - 2 * OLD).isoformat()}}
    return client.request("POST", "/events/filter", json={"filter": wanted}).json()["events"]


@pytest.fixture(scope="module")
def client(started):
    return started.client


@pytest.fixture(scope="module")
def server(started):
    return started.notes["prefect_api"].removesuffix("/api")


@pytest.fixture(scope="module")
def posts(started):
    return started.posts


def _state(client, run):
    return client.read_flow_run(run.id).state


def _becomes(client, run, *names):
    return wait_for(lambda: (state := _state(client, run)).name in names and state)


def _runs_of(client, name):
    deployment = client.read_deployment_by_name(name)
    return [run for run in client.read_flow_runs() if run.deployment_id == deployment.id]


def test_an_active_schedule_makes_the_runs_to_come(client):
    runs = wait_for(lambda: _runs_of(client, "classification/classification"))
    first = min(run.expected_start_time for run in runs)
    assert (first.weekday(), first.hour, first.minute) == (6, 3, 0)  # Sunday, 03:00 as prefect.yaml says
    assert {run.state.name for run in runs} == {"Scheduled"}


@pytest.fixture(scope="module")
def in_turn(client):
    """Both runs of a deployment that were scheduled for the same second, once the later one has ended."""

    def ended():
        runs = [run for run in _runs_of(client, "champion/champion") if run.state.is_final()]
        return len(runs) == 2 and runs

    return sorted(wait_for(ended), key=lambda run: run.start_time)


def test_a_worker_takes_scheduled_runs_one_after_the_other_and_completes_them(in_turn):
    first, second = in_turn
    assert [run.state.name for run in in_turn] == ["Completed"] * 2
    assert all("auto-scheduled" in run.tags for run in in_turn)
    assert first.end_time <= second.start_time


def test_a_worker_says_once_that_a_run_waits(started, client, in_turn):
    second = in_turn[1]
    waits = [state.name for state in client.read_flow_run_states(second.id)].count("AwaitingConcurrencySlot")
    assert waits >= 2  # as often, it was tried in vain
    log = (started.outputs / "services" / "cpu-worker.log").read_text()
    assert [log.count(f"submitting flow run '{run.id}'") for run in in_turn] == [1, 1]
    assert [log.count(f"Aborted submission of flow run '{run.id}'") for run in in_turn] == [0, 1]


def test_three_failures_pause_the_schedules_of_a_deployment(client):
    nightly = client.read_deployment_by_name("retrieval/retrieval-nightly")  # which needs a champion
    wait_for(lambda: client.read_deployment(nightly.id).paused)
    runs = _runs_of(client, "retrieval/retrieval-nightly")
    failed = [run for run in runs if run.state.is_failed()]
    assert len(failed) >= 3
    assert all("No classifier is registered as 'pneumonia-classifier'" in run.state.message for run in failed)
    wait_for(lambda: all(run.state.is_final() for run in _runs_of(client, "retrieval/retrieval-nightly")))


def test_a_new_champion_starts_the_retrieval_with_it(client):
    (run,) = wait_for(lambda: _runs_of(client, "retrieval/retrieval"))
    assert run.created_by.type == "AUTOMATION"
    assert run.parameters["retrieval"] == {"classifier": "champion", "publish": "always"}
    assert "No classifier is registered" in _becomes(client, run, "Failed").message  # the worker took it
    assert len(_runs_of(client, "retrieval/retrieval")) == 1


def test_a_run_that_nobody_takes_becomes_late(started, client):
    late = _becomes(client, started.late, "Late")
    assert late.type is StateType.SCHEDULED
    assert "No worker has taken this run in time" in late.message


def test_a_pause_that_nobody_ends_fails(started, client):
    assert "never resumed" in _becomes(client, started.paused, "Failed").message


def test_what_a_cancelled_run_had_begun_is_cancelled(started, client):
    wait_for(lambda: client.read_task_run(started.step).state.is_cancelled())


def test_events_are_kept_for_a_week_and_streamed(client):
    async def streamed():
        wanted = EventFilter(event=EventNameFilter(name=["new"]))
        async with get_events_subscriber(wanted) as subscriber:
            emit_event("new", {"prefect.resource.id": "test.loops"})
            return (await anext(subscriber)).event

    assert asyncio.run(asyncio.wait_for(streamed(), PATIENCE_SECONDS)) == "new"
    wait_for(lambda: _events(client, "new"))
    wait_for(lambda: not _events(client, "old"))


def test_a_silent_run_is_crashed_and_its_step_is_known(started, client):
    state = _becomes(client, started.run, "Crashed")
    assert f"No sign of life for {WINDOW_SECONDS} s" in state.message
    (step,) = [run for run in client.read_task_runs() if run.flow_run_id == started.run.id]
    assert (step.name, step.state.name) == ("a-step", "Completed")


def test_the_slot_of_a_dead_holder_is_free_again(started, client):
    assert started.slots == 1
    wait_for(lambda: client.read_global_concurrency_limit_by_name("gpu").active_slots == 0)


def test_a_dead_worker_is_offline_and_its_pool_not_ready(started, client):
    def worker():
        (found,) = client.request("POST", "/work_pools/cpu/workers/filter", json={}).json()
        return found["status"]

    wait_for(lambda: (worker(), client.read_work_pool("cpu").status.name) == ("ONLINE", "READY"))
    services.kill("cpu-worker", started.outputs)
    wait_for(lambda: worker() == "OFFLINE")
    wait_for(lambda: client.read_work_pool("cpu").status.name == "NOT_READY")


def test_mlflows_server_runs_no_loop(started):
    """Its jobs are switched off: all that it is are the processes that answer requests."""
    (server,) = [entry for entry in started.notes["processes"] if entry["name"] == "mlflow"]
    services.require_no_jobs(server["pid"])
