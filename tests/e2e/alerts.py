"""The alerts of a real server: which event makes it tell what, and to whom.

For tests/e2e/test_loops.py, which has the server, its client, a deployment whose runs do not start, and the webhook.
"""

import pytest
from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Cancelled, Failed, Running, State, StateType

from tasks.execution import events
from tests.e2e.services import PATIENCE_SECONDS, wait_for

SECONDS = 15  # a stuck run is told of after these instead of hours; on a busy machine, events are seconds late


def _told(posts, subject):
    """Return the lines of an alert; on a locked database, the server tries again and may send it twice."""
    (text,) = wait_for(lambda: {text for text in posts[0] if text.startswith(f"{subject}\n")}, PATIENCE_SECONDS)
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
