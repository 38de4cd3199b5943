"""The alerts of a real server: which event makes it tell what, and to whom."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.runtime import flow_run
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED
from prefect.states import Cancelled, Failed, Running, State, StateType

from deployments.automations import register
from tasks import events
from tests.conftest import CHECKOUT
from tests.e2e.client import client_of
from tests.e2e.test_services import _free_port

pytestmark = pytest.mark.e2e
SECONDS = 15  # a stuck run is told of after these instead of hours; on a busy machine, events are seconds late


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server without any worker."""
    port = _free_port()
    api = f"http://127.0.0.1:{port}/api"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    folder = tmp_path_factory.mktemp("alerts")
    environment = kept | {"PREFECT_HOME": str(folder), "PREFECT_API_URL": api, "PREFECT_SERVER_ANALYTICS_ENABLED": "0"}
    command = [str(Path(sys.executable).parent / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", port]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*map(str, command)], cwd=CHECKOUT, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(lambda: _answers(f"{api}/health"), 180)
        with client_of(api, {PREFECT_LOGGING_TO_API_ENABLED: False}):
            yield api.removesuffix("/api")
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def posts():
    """What a webhook has received, and its address."""
    received = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass

    webhook = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    yield received, f"http://127.0.0.1:{webhook.server_port}/secret-of-the-webhook"
    webhook.shutdown()
    webhook.server_close()


@pytest.fixture(scope="module")
def client(server):
    with SyncPrefectClient(f"{server}/api") as found:
        yield found


@pytest.fixture(scope="module")
def deployment(client, posts):
    """A deployment on a server that has all automations, two of them with less patience."""
    found = client.create_deployment(client.create_flow_from_name("retrieval"), "retrieval")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALERTS_WEBHOOK", posts[1])
        register()
    for automation in client.read_automations():
        if automation.name in ("Alert: a run does not end", "Alert: a run does not start"):
            definition = automation.model_dump(exclude={"id", "owner_resource"})
            definition["trigger"]["within"] = timedelta(seconds=SECONDS)
            client.update_automation(automation.id, AutomationCore(**definition))
    return found


def _answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def _wait_for(what, seconds):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
    return found


def _told(posts, subject):
    """Return the lines of an alert; on a locked database, the server tries again and may send it twice."""
    (text,) = _wait_for(lambda: {text for text in posts[0] if text.startswith(f"{subject}\n")}, 60)
    return text.split("\n")[1:]


def _run(client, deployment, name, *states):
    run = client.create_flow_run_from_deployment(deployment, name=name)
    for state in states:
        client.set_flow_run_state(run.id, state, force=True)
    return run


@flow(flow_run_name="by-hand")
def training():
    """Tell of a classifier and of drift as the flows do."""
    events.classifier_compared("better", 0.95, 0.9)
    events.classifier_compared("pneumonia-classifier", 0.9, 0.95)
    drift = {"drift/new_images": 60.0, "drift/new_domain_auc_normal": 0.8268, "drift/new_threshold_normal": 0.6}
    drift |= {"drift/new_domain_auc_pneumonia": 0.61, "drift/new_threshold_pneumonia": 0.65}
    events.drift_measured("alike", drift | {"drift/new_threshold_normal": 0.8268})
    events.drift_measured("alike", drift, 0.9)  # a person's threshold goes before those that were measured
    events.drift_measured("pneumonia-classifier", drift)
    raise ValueError(flow_run.id)  # no news to who started it by hand


def test_a_worse_classifier_and_drift_are_told_of(server, deployment, posts):
    with pytest.raises(ValueError) as error:
        training()
    link = f"{server}/runs/flow-run/{error.value}"
    assert _told(posts, "pneumonia-classifier: worse than the champion") == [
        "Validation AUC 0.9000, the champion's is 0.9500. The champion stays.",
        link,
    ]
    assert _told(posts, "pneumonia-classifier: drift in normal") == [
        "New embeddings are told from those of the index with an AUC above the threshold (.5 where they lie alike):",
        "drift/new_images 60.000",
        "drift/new_domain_auc_normal 0.827",
        "drift/new_threshold_normal 0.600",
        "drift/new_domain_auc_pneumonia 0.610",
        "drift/new_threshold_pneumonia 0.650",
        link,
    ]


def test_runs_that_fail_do_not_end_or_do_not_start_are_told_of_with_a_link(server, client, deployment, posts):
    late = State(type=StateType.SCHEDULED, name="Late")
    failed = _run(client, deployment, "broken-run", Running(), Failed(message="no such file: x.npz"))
    stuck = _run(client, deployment, "stuck-run", Running())
    waiting = _run(client, deployment, "waiting-run", late)
    _run(client, deployment, "good-run", late, Running(), Cancelled())
    assert _told(posts, "broken-run: Failed") == ["no such file: x.npz", f"{server}/runs/flow-run/{failed.id}"]
    assert _told(posts, "stuck-run: no end")[1:] == [f"{server}/runs/flow-run/{stuck.id}"]
    assert _told(posts, "waiting-run: not started")[1:] == [f"{server}/runs/flow-run/{waiting.id}"]
    assert not [text for text in posts[0] if text.startswith(("good-run", "by-hand", "better", "alike"))]


def test_the_address_is_not_shown(client, deployment, posts):
    shown = client.request("POST", "/block_documents/filter", json={}).text
    assert "secret-of-the-webhook" not in shown
    assert "{{ address }}" in shown
