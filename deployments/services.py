"""`make up` and `make down`: Prefect server, MLflow server, workers and all deployments, on this machine.

Everything listens on loopback. What was started is noted in `outputs/services.json`, so that `down` ends just that, and
so that runs from the shell go to these servers while they are up.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from deployments.heartbeat import heartbeat_window
from deployments.schedules import schedules_kept
from deployments.webhook import alerts_webhook
from models.errors import InputError
from tasks.locations import environment, outputs, services_file, tracking_artifacts

PROJECT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
GPUS = len(list(Path("/dev").glob("nvidia[0-9]*")))
PATIENCE_SECONDS = 180


def up() -> int:
    """Start the services, register the deployments and print where to look.

    Returns:
        Exit code: 0 once all is healthy, 2 where a port is taken or a variable wrong, 1 where a service did not start.
    """
    ports = {"Prefect": _port("PREFECT_PORT", 4200), "MLflow": _port("MLFLOW_PORT", 5000)}
    try:
        _check_environment()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    running = _running()
    if len(running) == len(_notes().get("processes", [])) > 0:
        _say(_greeting(_notes(), "The services are up already."))
        return 0
    _end(running)
    for name, port in ports.items():
        if _taken(port):
            variable = f"{name.upper()}_PORT"
            sys.stderr.write(
                f"error: port {port} on {HOST} is taken, and {name} needs one: end what listens there, or choose "
                f"another with {variable}={port + 1} make up.\n"
            )
            return 2
    variables = _variables(ports)
    notes: dict[str, Any] = {
        "prefect_api": variables["PREFECT_API_URL"],
        "mlflow": variables["MLFLOW_TRACKING_URI"],
        "processes": [],
    }
    (outputs() / "prefect").mkdir(parents=True, exist_ok=True)
    try:
        _start(
            "prefect", _tool("prefect", "server", "start", "--host", HOST, "--port", ports["Prefect"]), notes, variables
        )
        _start("mlflow", _tool("mlflow", *_mlflow_arguments(ports["MLflow"])), notes, _without_tracking(variables))
        _wait_for(f"{notes['prefect_api']}/health", notes)
        _wait_for(f"{notes['mlflow']}/health", notes)
        _register(variables)
        for pool in ("cpu", *(["gpu"] if GPUS else [])):
            command = _tool("prefect", "worker", "start", "--pool", pool, "--name", f"{pool}-1")
            _start(f"{pool}-worker", command, notes, variables)
    except (RuntimeError, KeyboardInterrupt) as error:
        _end(_running())
        services_file().unlink(missing_ok=True)
        sys.stderr.write(f"error: {error or 'interrupted'}\n")
        return 1
    _say(_greeting(notes, f"Prefect, MLflow and {'two workers' if GPUS else 'one worker'} are up."))
    return 0


def register() -> int:
    """Make pools, limits, variables, deployments and automations on the Prefect server that `PREFECT_API_URL` names.

    Returns:
        Exit code: 0 once all is registered, 2 where a variable is wrong, 1 where the server refused.
    """
    try:
        _check_environment()
        _register(dict(os.environ) | environment())
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except RuntimeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def down() -> int:
    """End what `up` started, and nothing else.

    Returns:
        Exit code 0.
    """
    running = _running()
    _end(running)
    services_file().unlink(missing_ok=True)
    _say(f"Ended {len(running)} services." if running else "Nothing was running.")
    return 0


def _variables(ports: dict[str, int]) -> dict[str, str]:
    api = f"http://{HOST}:{ports['Prefect']}/api"
    variables = dict(os.environ) | environment()
    return variables | {
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(ports["Prefect"]),  # the UI calls port 4200 unless both are set
        "PREFECT_SERVER_UI_API_URL": api,
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports['MLflow']}",
        "OUTPUTS": str(outputs()),
        "PNEUMONIA_PROJECT": str(PROJECT),  # where the worker finds the flows: see `pull` in prefect.yaml
        "PYTHONUNBUFFERED": "1",
    }


def _without_tracking(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name != "MLFLOW_TRACKING_URI"}


def _mlflow_arguments(port: int) -> list[str]:
    return [
        "server", "--host", HOST, "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{outputs() / 'mlflow.db'}",
        "--default-artifact-root", tracking_artifacts(),
    ]  # fmt: skip


def _tool(name: str, *arguments: Any) -> list[str]:
    return [str(Path(sys.executable).parent / name), *map(str, arguments)]


def _prefect(variables: dict[str, str], *arguments: str) -> None:
    _run(variables, *_tool("prefect", "--no-prompt", *arguments))


def _run(variables: dict[str, str], *command: str) -> None:
    done = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        told = " ".join([Path(command[0]).name, *command[1:]])
        raise RuntimeError(f"`{told}` failed: {(done.stderr or done.stdout).strip()[-600:]}")


def _check_environment() -> None:
    """Refuse variables that are read when all is running already.

    Raises:
        InputError: one of them is wrong.
    """
    heartbeat_window()
    alerts_webhook()


def _register(variables: dict[str, str]) -> None:
    _run(variables, sys.executable, "-m", "deployments.resources")
    with schedules_kept(variables["PREFECT_API_URL"]):
        _prefect(variables, "deploy", "--all")
    _run(variables, sys.executable, "-m", "deployments.automations")


def _start(name: str, command: Sequence[str], notes: dict[str, Any], variables: dict[str, str]) -> None:
    """Start a service in a session of its own, so that it outlives this process, and note it."""
    log = outputs() / "services" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    created = psutil.Process(process.pid).create_time()
    notes["processes"].append({"name": name, "pid": process.pid, "created": created, "log": str(log)})
    services_file().write_text(json.dumps(notes, indent=1))


def _wait_for(address: str, notes: dict[str, Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        dead = [entry for entry in notes["processes"] if not _alive(entry)]
        if dead:
            raise RuntimeError(f"{dead[0]['name']} ended at once: its log is {dead[0]['log']}.")
    raise RuntimeError(
        f"{address} did not answer within {PATIENCE_SECONDS} s: the logs are in {outputs() / 'services'}."
    )


def _notes() -> dict[str, Any]:
    try:
        return dict(json.loads(services_file().read_text()))
    except (OSError, ValueError):
        return {}


def _running() -> list[psutil.Process]:
    return [psutil.Process(entry["pid"]) for entry in _notes().get("processes", []) if _alive(entry)]


def _alive(entry: dict[str, Any]) -> bool:
    """Tell whether a noted process is still the one that was started; its number may have gone to another."""
    try:
        process = psutil.Process(entry["pid"])
        return process.create_time() == entry["created"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end(processes: Sequence[psutil.Process]) -> None:
    """End processes with all they started: the worker first, so that it can tell the server."""
    for process in reversed(processes):
        family = [process, *process.children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=15)
        for member in left:
            member.kill()
        psutil.wait_procs(left, timeout=5)


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        sys.stderr.write(f"error: {variable}={text} is not a port: give a number from 1 to 65535.\n")
        raise SystemExit(2)
    return int(text)


def _greeting(notes: dict[str, Any], first: str) -> str:
    return (
        f"{first}\n"
        f"  Prefect  {notes['prefect_api'].removesuffix('/api')}   run a deployment: Deployments → pipeline → Run\n"
        f"  MLflow   {notes['mlflow']}   compare experiments: pneumonia/…\n"
        f"  logs     {outputs() / 'services'}   end with: make down"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    actions = {"up": up, "down": down, "register": register}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        sys.stderr.write("error: usage: python -m deployments.services up|down|register\n")
        raise SystemExit(2)
    raise SystemExit(actions[sys.argv[1]]())
