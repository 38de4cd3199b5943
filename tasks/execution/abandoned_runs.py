"""Runs that processes have left when they died without a word, in the database of the embedded server.

A server that stays finds them by the heartbeats which they lack (`deployments/automations`); the embedded one ends with
the process. So each process that runs flows with one holds a lock, together with the others, until it ends, however it
ends. Who has the lock alone knows that no such run goes on.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterParentTaskRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType

from tasks.storage.locations import locks

logger = logging.getLogger(__name__)

_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_AT_ONCE = 200


@contextlib.contextmanager
def closed() -> Iterator[None]:
    """Close what dead processes have left, where nobody else runs flows, and count as alive within the block.

    Only runs from the shell are closed: a worker's belong to a server, which asks for signs of life.
    """
    locks().mkdir(parents=True, exist_ok=True)
    descriptor = os.open(locks() / "embedded-runs.lock", os.O_RDWR | os.O_CREAT)
    try:
        if _alone(descriptor):
            with get_client(sync_client=True) as client:
                _close(client)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _close(client: SyncPrefectClient) -> None:
    roots = FlowRunFilter(
        state=_flows_under_way(),
        deployment_id=FlowRunFilterDeploymentId(is_null_=True),
        parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
    )
    while found := client.read_flow_runs(flow_run_filter=roots, limit=_AT_ONCE):
        for run in found:
            _crash(client, run)
            logger.warning("The flow run %s is closed as Crashed: its process has died.", run.id)


def _flows_under_way() -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))


def _crash(client: SyncPrefectClient, run: FlowRun) -> None:
    """Close a run with all that was a part of it; itself last, so that one who is interrupted leaves it to be found."""
    state = State(type=StateType.CRASHED, name="Crashed", message="Its process died without a word.")
    parts = FlowRunFilter(state=_flows_under_way(), parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
    for part in client.read_flow_runs(flow_run_filter=parts, limit=_AT_ONCE):
        _crash(client, part)
    for task_run in _steps_under_way(client, run.id):
        client.set_task_run_state(task_run, state, force=True)
    client.set_flow_run_state(run.id, state, force=True)


def _steps_under_way(client: SyncPrefectClient, flow_run_id: UUID) -> list[UUID]:
    under_way = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNDER_WAY)))
    of_it = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    found = client.read_task_runs(flow_run_filter=of_it, task_run_filter=under_way, limit=_AT_ONCE)
    return [task_run.id for task_run in found]
