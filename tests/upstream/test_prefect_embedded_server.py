"""`SubprocessASGIServer._run_uvicorn_command`, which `tasks/execution/embedded_server.py` takes the place of."""

import inspect

import pytest
from prefect.server.api import server

from tasks.execution import embedded_server

THEIRS = inspect.unwrap(server.SubprocessASGIServer._run_uvicorn_command)


@pytest.fixture
def started(monkeypatch):
    """The calls that start a process, none of which does."""
    calls = []
    monkeypatch.setattr(server.subprocess, "Popen", lambda args, **options: calls.append((args, options)))
    return calls


def test_the_same_server_is_started_and_only_its_program_differs(started):
    embedded = object.__new__(server.SubprocessASGIServer)
    embedded.port = 8123
    THEIRS(embedded)
    embedded_server._start(embedded)
    (theirs, their_options), (ours, our_options) = started
    assert theirs[1:4] == ["-m", "uvicorn", "--app-dir"]
    assert ours[3:] == theirs[5:]
    assert our_options.pop("stdin") == server.subprocess.PIPE
    assert our_options == their_options


def test_prefect_starts_it_by_that_method(monkeypatch):
    monkeypatch.setattr(server.SubprocessASGIServer, "_run_uvicorn_command", THEIRS)
    embedded_server.end_with_this_process()
    assert server.SubprocessASGIServer._run_uvicorn_command is embedded_server._start
    assert "self.server_process = self._run_uvicorn_command()" in inspect.getsource(server.SubprocessASGIServer.start)
