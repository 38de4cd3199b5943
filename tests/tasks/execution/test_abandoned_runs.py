import fcntl
import os

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.states import Running

from tasks.execution.abandoned_runs import closed
from tasks.storage.locations import locks

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


@flow
def abandoned():
    pass


@pytest.fixture
def client():
    with get_client(sync_client=True) as client:
        yield client


def _state(client, run):
    return client.read_flow_run(run.id).state


@pytest.fixture
def dead(client):
    """A flow run with a step and a run within it, as a process leaves them that is killed."""
    parent = client.create_flow_run(abandoned, state=Running())
    step = client.create_task_run(
        task(lambda: None, name="a-step"), flow_run_id=parent.id, dynamic_key="0", state=Running()
    )
    child = client.create_flow_run(abandoned, state=Running(), parent_task_run_id=step.id)
    return parent, step, child


def test_what_dead_processes_left_is_crashed_with_all_its_parts(client, dead):
    parent, step, child = dead
    with closed():
        for state in (_state(client, parent), _state(client, child), client.read_task_run(step.id).state):
            assert state.is_crashed()
            assert state.message == "Its process died without a word."


def test_nothing_is_closed_while_others_run_flows(client, dead):
    with closed():
        late = client.create_flow_run(abandoned, state=Running())
        with closed():  # another process comes to the same: the lock is the open file's
            assert _state(client, late).is_running()
    with closed():
        assert _state(client, late).is_crashed()


def test_runs_that_wait_or_belong_to_a_worker_or_are_over_stay(client):
    flow_id = client.create_flow(abandoned)
    deployment = client.create_deployment(flow_id, "of-a-worker")
    of_a_worker = client.create_flow_run_from_deployment(deployment, state=Running())
    scheduled = client.create_flow_run(abandoned, state=State(type=StateType.SCHEDULED))
    over = client.create_flow_run(abandoned, state=State(type=StateType.COMPLETED))
    with closed():
        found = [_state(client, run).type for run in (of_a_worker, scheduled, over)]
    assert found == [StateType.RUNNING, StateType.SCHEDULED, StateType.COMPLETED]
    client.delete_deployment(deployment)


def test_the_lock_is_free_afterwards():
    with closed():
        pass
    descriptor = os.open(locks() / "embedded-runs.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
