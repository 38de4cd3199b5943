"""Where the server makes the state of a late run, to which `deployments.local.prefect_server` adds a message."""

import inspect

import pytest
from prefect.server.schemas import states
from prefect.server.services import late_runs

from deployments.local.prefect_server import LATE, explain_late_runs


def test_a_late_run_says_what_it_may_wait_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(states, "Late", states.Late)  # put back at the end
    explain_late_runs()
    assert late_runs.states.Late(scheduled_time=None).message == LATE
    assert "states.Late(" in inspect.getsource(late_runs)  # else the message reaches no run
