"""Pools, queues, limits and variables on a real Prefect server."""

import os

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import VariableCreate, WorkPoolUpdate

from deployments.local.resources import SEARCHES, make_resources
from tasks.execution.variables import DRIFT_VARIABLE

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def server():
    with get_client(sync_client=True) as client:
        make_resources()
        yield client
        for pool in ("cpu", "gpu"):
            client.delete_work_pool(pool)


def _priorities(client):
    queues = client.request("POST", "/work_pools/cpu/queues/filter", json={}).json()
    return {queue["name"]: queue["priority"] for queue in queues}


def test_what_is_missing_is_made(server):
    pools = {pool.name: pool for pool in server.read_work_pools()}
    assert {name: (pool.type, pool.concurrency_limit) for name, pool in pools.items()} == {
        "cpu": ("process", max(2, os.cpu_count())),
        "gpu": ("process", None),
    }
    assert "working_dir" in pools["cpu"].base_job_template["variables"]["properties"]
    assert _priorities(server)[SEARCHES] < _priorities(server)["default"]
    assert server.read_variable_by_name(DRIFT_VARIABLE) is None  # a threshold that is there is a person's
    assert server.read_global_concurrency_limit_by_name("gpu").limit >= 1


def test_what_a_person_has_changed_stays(server):
    server.update_work_pool("cpu", WorkPoolUpdate(concurrency_limit=7, is_paused=True))
    server.update_work_queue(server.read_work_queue_by_name(SEARCHES, "cpu").id, priority=3)
    before = _priorities(server)
    make_resources()
    pool = server.read_work_pool("cpu")
    assert (pool.concurrency_limit, pool.is_paused) == (7, True)
    assert _priorities(server) == before
    assert before[SEARCHES] > before["default"]


@pytest.mark.parametrize(
    ("value", "tags", "stays"),
    [(0.75, ["drift", "uncalibrated"], False), (0.9, ["drift", "uncalibrated"], True), (0.75, [], True)],
)
def test_a_threshold_that_an_earlier_version_made_goes_and_one_that_a_person_set_stays(server, value, tags, stays):
    server.create_variable(VariableCreate(name=DRIFT_VARIABLE, value=value, tags=tags))
    make_resources()
    found = server.read_variable_by_name(DRIFT_VARIABLE)
    assert (found is not None) == stays
    if stays:
        assert found.value == value
        server.delete_variable_by_name(DRIFT_VARIABLE)
