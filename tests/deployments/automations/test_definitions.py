"""The automations on a real Prefect server."""

import base64
from datetime import timedelta

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from deployments.automations.definitions import FIELDS, register
from deployments.automations.heartbeat import heartbeat_window
from models.errors import InputError

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.expected_in_logs("an automation was changed"),
]
CRASH, PAUSE, INDEX = (
    "Crash runs that have gone silent",
    "Pause schedules that keep failing",
    "Index anew for a new champion",
)
ALERTS = {
    "Alert: a run failed",
    "Alert: a run does not end",
    "Alert: a run does not start",
    "Alert: a classifier is worse than the champion",
    "Alert: new images lie elsewhere than the index",
    "Alert: foreign pictures in the inbox",
}


@pytest.fixture
def server():
    """The server with the deployment that one of them runs, and without the automations of another test."""
    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow_from_name("retrieval"), "retrieval")
        yield client
        for automation in client.read_automations():
            client.delete_automation(automation.id)
        for block in client.read_block_documents():
            client.delete_block_document(block.id)


def _registered(client):
    return {automation.name: automation for automation in client.read_automations()}


def test_all_are_registered_and_on(server):
    register()
    found = _registered(server)
    assert found.keys() == {CRASH, PAUSE, INDEX, *ALERTS}
    assert all(automation.enabled for automation in found.values())
    assert found[CRASH].trigger.within.total_seconds() == 180
    assert found[PAUSE].trigger.within > timedelta(weeks=2)  # which three runs of a weekly schedule span
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
    assert len(server.read_automations()) == len(found) == 3 + len(ALERTS)
    assert found[CRASH].trigger.within.total_seconds() == 60
    assert not any(automation.enabled for automation in found.values())


def _change(client, name, **fields):
    known = _registered(client)[name]
    same = {field: getattr(known, field) for field in FIELDS}
    client.update_automation(known.id, AutomationCore(**same | fields))


def test_what_a_person_changed_stays_until_a_reset(server, monkeypatch):
    assert register() == []
    longer = _registered(server)[CRASH].trigger.model_copy(update={"within": timedelta(seconds=300)})
    _change(server, CRASH, trigger=longer)
    _change(server, PAUSE, tags=[*_registered(server)[PAUSE].tags, "mine"])
    changed = server.request("POST", "/automations/filter", json={}).json()
    assert register() == []
    assert server.request("POST", "/automations/filter", json={}).json() == changed
    monkeypatch.setenv("HEARTBEAT_WINDOW", "60")  # and so the definition
    (said,) = register()
    assert said.startswith(f"Automation {CRASH!r} stays as it is on the server, where somebody changed it;")
    assert _registered(server)[CRASH].trigger.within.total_seconds() == 300
    assert register() == []
    assert register(reset=True) == []
    assert _registered(server)[CRASH].trigger.within.total_seconds() == 60
    assert "mine" in _registered(server)[PAUSE].tags


def _sender(client):
    """Return the block that all alerts are sent by."""
    (action,) = {
        (alert.actions[0].type, getattr(alert.actions[0], "block_document_id", None))
        for name, alert in _registered(client).items()
        if name in ALERTS
    }
    return action


def test_alerts_go_to_the_webhook_that_is_named_last(server, monkeypatch):
    register()
    (own,) = server.read_block_documents()
    assert own.name == "alerts-as-artifacts"
    assert _sender(server) == ("send-notification", own.id)
    for address in ("https://first.example/T0", "https://second.example/T0"):
        monkeypatch.setenv("ALERTS_WEBHOOK", address)
        register()
        block = next(block for block in server.read_block_documents() if block.name == "alerts")
        assert _sender(server) == ("send-notification", block.id)
        assert block.data["secrets"]["address"] == address
    monkeypatch.delenv("ALERTS_WEBHOOK")
    register()
    assert _sender(server) == ("send-notification", block.id)
    server.delete_block_document(block.id)
    register()
    assert _sender(server) == ("send-notification", own.id)


def test_without_a_webhook_an_alert_is_an_artifact(server):
    register()
    CustomWebhookNotificationBlock.load("alerts-as-artifacts").notify('It "failed".\nhttp://page', "run: Failed")
    (artifact,) = server.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["alerts"])))
    assert (artifact.type, artifact.description) == ("markdown", "run: Failed")
    assert artifact.data == 'run: Failed\n\nIt "failed".\nhttp://page'


def test_the_block_that_makes_artifacts_logs_in_where_the_server_asks_for_it(server):
    with temporary_settings({PREFECT_API_AUTH_STRING: "team:secret"}):
        register()
    block = CustomWebhookNotificationBlock.load("alerts-as-artifacts")
    assert block.secrets.get_secret_value() == {"login": base64.b64encode(b"team:secret").decode()}
    assert block.headers == {"Authorization": "Basic {{ login }}"}


def test_a_block_that_a_person_made_is_used_as_it_is(server):
    block = SlackWebhook(url="https://hooks.slack.com/services/T0/B0/x").save("alerts")
    register()
    assert _sender(server) == ("send-notification", block)
    (found,) = server.read_block_documents()
    assert found.block_type.name == "Slack Webhook"


@pytest.mark.parametrize("text", ["44", "soon", "-90", "100000"])
def test_a_window_in_which_a_live_run_may_be_silent_is_one_sentence(monkeypatch, text):
    monkeypatch.setenv("HEARTBEAT_WINDOW", text)
    with pytest.raises(InputError, match=f"HEARTBEAT_WINDOW={text} is not .* from 45 to 86400"):
        heartbeat_window()
