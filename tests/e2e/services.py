"""The services of `make up`, as tests start and end them."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import SyncPrefectClient

from tests.conftest import CHECKOUT
from tests.server_logs import ServerLogs
from tests.support.ports import free_port

PATIENCE_SECONDS = 400
"""What takes seconds takes minutes on a machine that is busy. Only a fault is waited for that long."""


def service_environment(outputs: Path, data: Path, **others: str) -> dict[str, str]:
    """Make the environment of services that have ports and products of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    ports = {name: str(free_port()) for name in ("PREFECT_PORT", "MLFLOW_PORT", "PAGE_PORT")}
    return kept | ports | {"OUTPUTS": str(outputs), "DATA": str(data)} | others


def call(action: str, variables: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Do what `make up` or `make down` does."""
    command = [sys.executable, "-m", "deployments.local.services", action, *options]
    return subprocess.run(command, cwd=CHECKOUT, env=variables, capture_output=True, text=True, timeout=800)


@contextlib.contextmanager
def running(variables: dict[str, str], logs: ServerLogs) -> Iterator[dict[str, Any]]:
    """Have the services up, and end them; nothing of them is left.

    Yields:
        What `outputs/services.json` says, and what was `printed`.
    """
    logs.watch(Path(variables["OUTPUTS"]) / "services", "a worker was cut off")
    try:
        done = call("up", variables)
        assert done.returncode == 0, done.stderr
        notes = json.loads(Path(variables["OUTPUTS"], "services.json").read_text())
        yield notes | {"printed": done.stdout}
    finally:
        assert call("down", variables).returncode == 0
        assert not left_running(variables)


def left_running(variables: dict[str, str]) -> list[psutil.Process]:
    """Find the processes that work on the outputs of these services."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("OUTPUTS") == variables["OUTPUTS"]:
                found.append(process)
    return found


def process_of(name: str, outputs: Path) -> psutil.Process:
    """Find a service's own process."""
    notes = json.loads((outputs / "services.json").read_text())
    (pid,) = [entry["pid"] for entry in notes["processes"] if entry["name"] == name]
    return psutil.Process(pid)


def kill(name: str, outputs: Path) -> None:
    """Kill a service with all that it started, as a machine that loses its power does."""
    service = process_of(name, outputs)
    family = [*service.children(recursive=True), service]
    for member in family:
        member.kill()
    psutil.wait_procs(family, timeout=60)


def end(worker: subprocess.Popen[Any]) -> None:
    """End a worker as `make down` does: one that is asked while a run of its ends may wait for ever."""
    worker.terminate()
    try:
        worker.wait(timeout=15)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait(timeout=60)


@contextlib.contextmanager
def deployment_like(client: SyncPrefectClient, like: str, own: dict[str, Any]) -> Iterator[tuple[UUID, str]]:
    """Have a deployment as one that is registered, with a name and values of its own, whose runs need not take turns.

    Yields:
        Its id; its flow's name and its own.
    """
    flow, _, name = like.partition("/")
    known = client.read_deployment_by_name(like)
    form = {name: value for name, value in known.parameter_openapi_schema.items() if name != "x-registered"}
    made = client.create_deployment(
        known.flow_id,
        f"{name}-of-a-test",
        entrypoint=known.entrypoint,
        pull_steps=known.pull_steps,
        parameters=own,
        parameter_openapi_schema=form,
        work_pool_name=known.work_pool_name,
        enforce_parameter_schema=True,
    )
    try:
        yield made, f"{flow}/{name}-of-a-test"
    finally:
        client.delete_deployment(made)


def require_no_jobs(mlflow: int) -> None:
    """Require that an MLflow server consists of what answers requests, and of nothing that runs jobs.

    Args:
        mlflow: the server's process.
    """
    commands = [" ".join(child.cmdline()) for child in psutil.Process(mlflow).children(recursive=True)]
    assert len([command for command in commands if "uvicorn" in command]) == 1
    assert not [command for command in commands if "jobs" in command or "huey" in command]


def wait_for(what: Callable[[], Any], seconds: float = PATIENCE_SECONDS, *, pause: float | None = None) -> Any:
    """Ask until something is so.

    Args:
        what: the question; what it answers is true once it is so.
        seconds: after which that is given up.
        pause: between two questions; else it grows with what was waited, since to answer costs a server its time.

    Returns:
        The last answer.

    Raises:
        AssertionError: it is not so within that time.
    """
    begun = time.monotonic()
    while not (found := what()):
        waited = time.monotonic() - begun
        assert waited < seconds, f"not so within {seconds} s: {found}"
        time.sleep(min(1.0, 0.1 + waited / 20) if pause is None else pause)
    return found
