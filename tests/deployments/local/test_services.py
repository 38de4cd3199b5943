"""What services leave behind, with real processes in their place."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deployments.local import services
from tests.conftest import CHECKOUT

WORKER = """
import signal, subprocess, sys, time
def end(*_):
    print(sys.argv[1], "ended", flush=True)
    raise SystemExit
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if sys.argv[1] == "worker":
    subprocess.Popen([sys.executable, __file__, "run"], start_new_session=True)
print(sys.argv[1], "started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def worker(outputs):
    """A worker with a run, which has a session of its own as those of Prefect's worker have."""
    script = outputs / "worker.py"
    script.write_text(WORKER)
    notes = {"processes": []}
    services._start("cpu-worker", [sys.executable, str(script), "worker"], notes, dict(os.environ))
    (entry,) = notes["processes"]
    log = Path(entry["log"])
    deadline = time.monotonic() + 240
    while log.read_text().count("started") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return entry


def test_a_run_is_told_to_end_before_its_worker(worker):
    family = services._family(worker)
    assert len(family) == 2
    services._end([worker])
    assert Path(worker["log"]).read_text().splitlines()[-2:] == ["run ended", "worker ended"]
    assert not any(map(_lives, family))


def test_what_a_dead_worker_started_is_found_and_ended_and_nothing_else(worker):
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    leader, run = services._family(worker)
    assert leader.pid == worker["pid"]
    leader.kill()
    leader.wait()
    assert not services._alive(worker)
    assert services._family(worker) == [run]
    services._end([worker])
    assert Path(worker["log"]).read_text().splitlines()[-1] == "run ended"
    assert not _lives(run)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_service_is_known_again_when_the_clock_is_set(worker, monkeypatch):
    started = psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: started + 86_400)
    assert services._alive(worker)
    services._end([worker])
    assert not services._alive(worker)


def _lives(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("action", "variables", "sentence"),
    [
        ("up", {"PREFECT_PORT": "4711", "MLFLOW_PORT": "4711"}, "PREFECT_PORT and MLFLOW_PORT are both 4711"),
        ("up", {"MLFLOW_PORT": "4711", "PAGE_PORT": "4711"}, "MLFLOW_PORT and PAGE_PORT are both 4711"),
        ("up", {"PAGE_PORT": "4200"}, "PREFECT_PORT and PAGE_PORT are both 4200"),
        ("up", {"PAGE_PORT": "0"}, "PAGE_PORT=0 is not a port"),
        ("up", {"PAGE_HOST": "0.0.0.0"}, "PAGE_HOST=0.0.0.0 opens the page"),
        ("up", {"PAGE_LOGIN": "nurse"}, "PAGE_LOGIN is no login"),
        ("up", {"HEARTBEAT_WINDOW": "44"}, "HEARTBEAT_WINDOW=44 is not "),
        ("up", {"ALERTS_WEBHOOK": "hooks.example/T0"}, "ALERTS_WEBHOOK is not an address"),
        (
            "up",
            {"PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://me@127.0.0.1:9/prefect"},
            "PREFECT_SERVER_DATABASE_CONNECTION_URL names a database at 127.0.0.1:9, where nothing answers",
        ),
        ("register", {"ALERTS_WEBHOOK": "hooks.example/T0"}, "ALERTS_WEBHOOK is not an address"),
    ],
)
def test_what_is_wrong_in_the_environment_is_one_sentence_and_nothing_starts(outputs, action, variables, sentence):
    done = subprocess.run(
        [sys.executable, "-m", "deployments.local.services", action],
        cwd=CHECKOUT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sentence}")
    assert len(done.stderr.splitlines()) == 1
    assert not (outputs / "services.json").exists()
