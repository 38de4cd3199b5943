"""The automations on a real Prefect server."""

import subprocess
import sys

import pytest
from prefect.client.orchestration import get_client

from deployments.automations import register
from deployments.heartbeat import heartbeat_window
from models.errors import InputError
from tests.conftest import CHECKOUT

pytestmark = pytest.mark.usefixtures("prefect_server")
CRASH, PAUSE, INDEX = (
    "Crash runs that have gone silent",
    "Pause schedules that keep failing",
    "Index anew for a new champion",
)


@pytest.fixture
def server():
    """The server with the deployment that one of them runs, and without the automations of another test."""
    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow_from_name("retrieval"), "retrieval")
        yield client
        for automation in client.read_automations():
            client.delete_automation(automation.id)


def _registered(client):
    return {automation.name: automation for automation in client.read_automations()}


def test_all_are_registered_and_on(server):
    register()
    found = _registered(server)
    assert found.keys() == {CRASH, PAUSE, INDEX}
    assert all(automation.enabled for automation in found.values())
    assert found[CRASH].trigger.within.total_seconds() == 180
    (action,) = found[INDEX].actions
    assert action.deployment_id == server.read_deployment_by_name("retrieval/retrieval").id


def test_to_register_again_changes_nothing(server):
    register()
    before = server.request("POST", "/automations/filter", json={}).json()
    register()
    assert server.request("POST", "/automations/filter", json={}).json() == before


def test_a_changed_definition_is_changed_there_and_what_is_off_stays_off(server, monkeypatch):
    register()
    for automation in server.read_automations():
        server.pause_automation(automation.id)
    monkeypatch.setenv("HEARTBEAT_WINDOW", "60")
    register()
    found = _registered(server)
    assert len(server.read_automations()) == 3
    assert found[CRASH].trigger.within.total_seconds() == 60
    assert not any(automation.enabled for automation in found.values())


@pytest.mark.parametrize("text", ["44", "soon", "-90", "100000"])
def test_a_window_in_which_a_live_run_may_be_silent_is_one_sentence(monkeypatch, text):
    monkeypatch.setenv("HEARTBEAT_WINDOW", text)
    with pytest.raises(InputError, match=f"HEARTBEAT_WINDOW={text} is not .* from 45 to 86400"):
        heartbeat_window()
    done = subprocess.run(
        [sys.executable, "-m", "deployments.services", "up"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: HEARTBEAT_WINDOW={text} ")
    assert len(done.stderr.splitlines()) == 1
