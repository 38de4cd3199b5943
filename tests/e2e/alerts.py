"""The alerts of a real server: which event makes it tell what, and to whom.

For tests/e2e/test_loops.py, which has the server, its client, a deployment whose runs do not start, and the webhook,
and calls `tell` and `begin` before the tests look what was told.
"""

import pytest
from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Cancelled, Failed, Running, State, StateType

from tasks.execution import events
from tests.e2e.services import wait_for
from tests.e2e.webhook import REFUSED
from tests.support import canary

SECONDS = 40  # a stuck run is told of after these instead of hours; on a busy machine, events are many seconds late


def _told(posts, subject):
    """Return the lines of an alert; on a locked database, the server tries again and may send it twice."""
    (text,) = wait_for(lambda: {text for text in posts[0] if text.startswith(f"{subject}\n")})
    return text.split("\n")[1:]


def made(client, deployment, name, *states):
    """Make a run that does not start, and bring it into states as a worker does."""
    run = client.create_flow_run_from_deployment(deployment, name=name)
    for state in states:
        client.set_flow_run_state(run.id, state, force=True)
    return run


@flow(flow_run_name="by-hand")
def training():
    """Tell of a classifier and of drift as the flows do."""
    events.classifier_compared("better", 0.95, 0.9)
    events.classifier_compared("pneumonia-classifier", 0.9, 0.95)
    events.classifier_compared(REFUSED, 0.9, 0.95)
    drift = {"drift/new_images": 60.0, "drift/new_domain_auc_normal": 0.8268, "drift/new_threshold_normal": 0.6}
    drift |= {"drift/new_domain_auc_pneumonia": 0.61, "drift/new_threshold_pneumonia": 0.65}
    events.drift_measured("alike", drift | {"drift/new_threshold_normal": 0.8268})
    events.drift_measured("alike", drift, 0.9)  # a person's threshold goes before those that were measured
    events.drift_measured("pneumonia-classifier", drift)
    raise ValueError(flow_run.id)  # no news to who started it by hand


def tell():
    """Run that flow; return its run's id."""
    with pytest.raises(ValueError) as error:
        training()
    return str(error.value)


def begin(client, deployment):
    """Make runs of which is told, and one of which is not."""
    late = State(type=StateType.SCHEDULED, name="Late")
    runs = {
        "broken": (Running(), Failed(message="no such file: x.npz")),
        "stuck": (Running(),),
        "waiting": (late,),
        "good": (late, Running(), Cancelled()),
    }
    return {name: made(client, deployment, f"{name}-run", *states) for name, states in runs.items()}


def test_a_worse_classifier_and_drift_are_told_of(server, started, posts):
    link = f"{server}/v2/runs/flow-run/{started.by_hand}"
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


def test_runs_that_fail_do_not_end_or_do_not_start_are_told_of_with_a_link(server, started, posts):
    links = {name: f"{server}/v2/runs/flow-run/{run.id}" for name, run in started.alerts.items()}
    assert _told(posts, "broken-run: Failed") == ["no such file: x.npz", links["broken"]]
    assert _told(posts, "stuck-run: no end")[1:] == [links["stuck"]]
    assert _told(posts, "waiting-run: not started")[1:] == [links["waiting"]]
    assert not [text for text in posts[0] if text.startswith(("good-run", "by-hand", "better", "alike"))]


def test_the_address_is_not_shown(client, started, posts):
    wait_for(lambda: sum(text.startswith(REFUSED) for text in posts[0]) == 3)  # it is tried again
    wait_for(lambda: "its webhook answers 500" in (started.outputs / "services" / "prefect.log").read_text())
    assert canary.holding([started.outputs], ["secret-of-the-webhook"]) == []
    shown = client.request("POST", "/block_documents/filter", json={}).text
    assert "secret-of-the-webhook" not in shown
    assert "{{ address }}" in shown
