"""`make up` and `make down`: both servers, workers, all deployments and the page for X-rays, on this machine.

Everything listens on loopback; the page elsewhere where `PAGE_HOST` says so. What was started is noted in
`outputs/services.json`, so that `down` ends just that, and so that runs from the shell go to these servers while they
are up.
"""

import contextlib
import functools
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from pydantic import AnyHttpUrl, BaseModel, ValidationError

from deployments.automations.heartbeat import heartbeat_window
from deployments.automations.webhook import alerts_webhook
from deployments.page.settings import page_settings
from models.errors import InputError
from models.operating_system import require_unix
from models.text import printable
from tasks.execution.server import require_own_database
from tasks.storage.disks import require_room
from tasks.storage.locations import (
    OVERVIEW,
    environment,
    noted_services,
    open_directly,
    outputs,
    services_file,
    tracking_artifacts,
)
from tasks.storage.log_files import rotate_all
from tasks.storage.process_identity import process_identity
from tasks.storage.proxies import require_proxies
from tasks.storage.temporary_files import write_whole
from tasks.tracking.pages import LEADERBOARD, start_page, view_page
from tasks.tracking.relocation import follow_the_move
from tasks.tracking.tables import make_tables

PROJECT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
GPUS = len(list(Path("/dev").glob("nvidia[0-9]*")))
PATIENCE_SECONDS = 180
_MARK = "PNEUMONIA_SERVICE"  # in the environment of a service and of all that it starts
_LOGIN = "PAGE_LOGIN"
_PAGE = {"page": [sys.executable, "-m", "deployments.page"]}


def up() -> int:
    """Start the services, register the deployments and print where to look.

    Where some services are up and others have died, only those are started again, at their old addresses.

    Returns:
        Exit code: 0 once all is healthy, 2 where a port is taken or a variable wrong, 1 where a service did not start.
    """
    ports = {"Prefect": _port("PREFECT_PORT", 4200), "MLflow": _port("MLFLOW_PORT", 5000)}
    try:
        _check_environment()
        require_own_database()
        page = page_settings()
        ports["page"] = page.port
        _require_different(ports)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    known = _notes().get("processes", [])
    alive = [entry for entry in known if _alive(entry)]
    died = [entry for entry in known if entry not in alive]
    _end(died)
    if alive:
        ports |= {"Prefect": _noted_port("prefect_api"), "MLflow": _noted_port("mlflow")}
        if _notes().get("page"):
            ports["page"] = _noted_port("page")
    commands = _servers(ports) | _PAGE | _workers()
    missing = [name for name in commands if name not in {entry["name"] for entry in alive}]
    for name, port in ports.items():
        if name.lower() in missing and _taken(port):
            variable = f"{name.upper()}_PORT"
            sys.stderr.write(
                f"error: port {port} on {HOST} is taken, and {variable} is to be free: end what listens there, or "
                f"choose another with {variable}={port % 65535 + 1} make up.\n"
            )
            return 2
    variables = _variables(ports)
    notes: dict[str, Any] = {
        "prefect_api": variables["PREFECT_API_URL"],
        "mlflow": variables["MLFLOW_TRACKING_URI"],
        "page": replace(page, port=ports["page"]).address if "page" in missing else _notes()["page"],
        "processes": alive,
        **{name: _notes().get(name) for name in ("leaderboard", "overview")},
    }
    try:
        _bring_up(missing, commands, notes, variables)
    except (Exception, KeyboardInterrupt) as error:
        _end([entry for entry in notes["processes"] if entry not in alive])
        with contextlib.suppress(OSError):  # of a full disk, for instance
            _note(notes | {"processes": alive})
        if not isinstance(error, RuntimeError | OSError | KeyboardInterrupt):
            raise
        sys.stderr.write(f"error: {_reason(error)}\n")
        return 1
    first = f"Prefect, MLflow, the page and {'two workers' if GPUS else 'one worker'} are up."
    if died:
        first = f"{first} What had died was started again: {', '.join(missing)}."
    _say(_greeting(notes, first if missing else "The services are up already."))
    return 0


def running() -> list[str]:
    """Return the names of the services that `up` started and that live."""
    return [entry["name"] for entry in _notes().get("processes", []) if _alive(entry)]


def register(*arguments: str) -> int:
    """Make pools, limits, deployments and automations on the Prefect server that `PREFECT_API_URL` names.

    Args:
        arguments: `--reset` takes what the files say, whatever people changed.

    Returns:
        Exit code: 0 once all is registered, 2 where a variable is wrong, 1 where the server refused.
    """
    try:
        _check_environment()
        _register(dict(os.environ) | environment(), *arguments)
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
    ended = running()
    _end(_notes().get("processes", []))
    _note({})
    _say(f"Ended {len(ended)} services." if ended else "Nothing was running.")
    return 0


def _bring_up(
    missing: list[str], commands: dict[str, list[str]], notes: dict[str, Any], variables: dict[str, str]
) -> None:
    """Start what is missing: servers; once they answer, what is registered with them; then workers, until they poll."""
    (outputs() / "prefect").mkdir(parents=True, exist_ok=True)
    rotate_all((outputs() / "services").glob("*.log"))  # while they are up the Prefect server does it
    if "mlflow" in missing:
        follow_the_move()
        make_tables()
    for name in ("prefect", "mlflow"):
        if name in missing:
            _start(name, commands[name], notes, _without_tracking(variables) if name == "mlflow" else variables)
    if "page" in missing:
        _start("page", commands["page"], notes, variables | _login())
    for address in (f"{notes[name]}/health" for name in ("prefect_api", "mlflow", "page")):
        _wait_until(functools.partial(_answers, address), address, notes)
    if "prefect" in missing:
        _register(variables)
        notes |= {"leaderboard": _leaderboard(notes["mlflow"]), "overview": _overview(notes["prefect_api"])}
        _note(notes)
    started = datetime.now(UTC)
    workers = [name for name in _workers() if name in missing]
    for name in workers:
        _start(name, commands[name], notes, variables)
    for name in workers:
        pool = name.removesuffix("-worker")
        _wait_until(functools.partial(_polls, pool, started, notes["prefect_api"]), name, notes)


def _variables(ports: dict[str, int]) -> dict[str, str]:
    api = f"http://{HOST}:{ports['Prefect']}/api"
    waits = {"PREFECT_WORKER_QUERY_SECONDS": "3"}  # a run starts at once
    variables = waits | dict(os.environ) | environment()
    variables.pop(_LOGIN, None)  # the page's alone
    if not variables.get("PREFECT_SERVER_API_AUTH_STRING"):  # else a login for another server, which this one would log
        for name in ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"):
            variables.pop(name, None)
    return variables | {
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(ports["Prefect"]),  # the UI calls port 4200 unless both are set
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{ports['Prefect']},http://localhost:{ports['Prefect']}",
        "PREFECT_UI_URL": f"{api.removesuffix('/api')}/v2",  # where links lead to
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "deployments.local.event_order",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports['MLflow']}",
        "PAGE_PORT": str(ports["page"]),
        "OUTPUTS": str(outputs()),
        "PNEUMONIA_PROJECT": str(PROJECT),  # where the worker finds the flows: see `pull` in prefect.yaml
        "PYTHONUNBUFFERED": "1",
    }


def _login() -> dict[str, str]:
    return {_LOGIN: os.environ[_LOGIN]} if _LOGIN in os.environ else {}


def _without_tracking(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name != "MLFLOW_TRACKING_URI"}


def _servers(ports: dict[str, int]) -> dict[str, list[str]]:
    return {
        "prefect": [
            sys.executable, "-m", "deployments.local.prefect_server", "start",
            "--host", HOST, "--port", str(ports["Prefect"])
        ],
        "mlflow": _tool(
            "deployments.local.guarded_mlflow", "server", "--host", HOST, "--port", ports["MLflow"], "--workers", "1",
            "--backend-store-uri", f"sqlite:///{outputs() / 'mlflow.db'}",
            "--default-artifact-root", tracking_artifacts(), "--no-serve-artifacts",  # else into ./mlartifacts
        ),
    }  # fmt: skip


def _workers() -> dict[str, list[str]]:
    pools = ("cpu", *(["gpu"] if GPUS else []))
    return {
        f"{pool}-worker": _tool("deployments.local.worker", "start", "--pool", pool, "--name", f"{pool}-1")
        for pool in pools
    }


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return (
            f"the services cannot be started ({printable(error)}): make room, or name another folder with OUTPUTS=dir."
        )
    return str(error) or "interrupted"


def _tool(name: str, *arguments: Any) -> list[str]:
    """Call a program of this environment, not by its script, which is lost when the environment's folder is moved."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def _check_environment() -> None:
    """Refuse variables that are read when all is running already.

    Raises:
        InputError: one of them is wrong.
    """
    require_unix()
    heartbeat_window()
    alerts_webhook()
    require_proxies()
    require_room()


def _require_different(ports: dict[str, int]) -> None:
    """Refuse a port that two services are to listen on.

    Raises:
        InputError: two ports are the same.
    """
    variables = {name: f"{name.upper()}_PORT" for name in ports}
    for (first, port), (second, other) in itertools.combinations(ports.items(), 2):
        if port == other:
            raise InputError(
                f"{variables[first]} and {variables[second]} are both {port}, but each server needs a port of its own: "
                f"give another to one of them, {variables[second]}={port % 65535 + 1} make up for instance."
            )


def _register(variables: dict[str, str], *arguments: str) -> None:
    if "PREFECT_API_URL" not in variables:
        raise InputError(
            "no Prefect server to register with: start one with `make up`, or name one in PREFECT_API_URL."
        )
    command = ["-m", "deployments.local.set_up", *arguments]
    done = subprocess.run([sys.executable, *command], cwd=PROJECT, env=variables, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"`python {' '.join(command)}` failed: {done.stderr.strip()[-600:]}")


def _start(name: str, command: Sequence[str], notes: dict[str, Any], variables: dict[str, str]) -> None:
    """Start a service in a session of its own, so that it outlives this process, and note it."""
    mark = uuid.uuid4().hex
    log = outputs() / "services" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=variables | {_MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    identity = process_identity(process.pid)
    entry = {"name": name, "pid": process.pid, "identity": identity, "mark": mark, "log": str(log)}
    notes["processes"] = [*notes["processes"], entry]
    _note(notes)


def _wait_until(ready: Callable[[], bool], name: str, notes: dict[str, Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        dead = [entry for entry in notes["processes"] if not _alive(entry)]
        if dead:
            raise RuntimeError(f"{dead[0]['name']} ended at once: its log is {dead[0]['log']}.")
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"{name} was not there within {PATIENCE_SECONDS} s: the logs are in {outputs() / 'services'}."
            )
        time.sleep(0.5)


def _answers(address: str) -> bool:
    try:
        with open_directly(address, 5):
            return True
    except OSError:
        return False


def _leaderboard(mlflow: str) -> str | None:
    """Return the address of the leaderboard of classifiers; None where MLflow has no such experiment."""
    question = "api/2.0/mlflow/experiments/get-by-name?experiment_name=pneumonia%2Fclassification"
    try:
        with open_directly(f"{mlflow}/{question}", 5) as answer:
            experiment = json.load(answer)["experiment"]["experiment_id"]
    except OSError:
        return None
    return f"{mlflow}/{view_page(experiment, LEADERBOARD, within=True)}"


def _overview(api: str) -> str | None:
    """Return the address of the start page; None where there is none."""
    only = json.dumps({"artifacts": {"key": {"any_": [OVERVIEW]}}}).encode()
    request = urllib.request.Request(f"{api}/artifacts/filter", only, {"Content-Type": "application/json"})
    try:
        with open_directly(request, 5) as answer:
            found = json.load(answer)
    except OSError:
        return None
    return f"{api.removesuffix('/api')}/v2/artifacts/artifact/{found[0]['id']}" if found else None


def _polls(pool: str, since: datetime, api: str) -> bool:
    """Tell whether a worker of a pool has asked the server for work since some moment."""
    request = urllib.request.Request(
        f"{api}/work_pools/{pool}/workers/filter", b"{}", {"Content-Type": "application/json"}
    )
    try:
        with open_directly(request, 5) as answer:
            seen = [datetime.fromisoformat(worker["last_heartbeat_time"]) for worker in json.load(answer)]
    except OSError:
        return False
    return any(moment > since for moment in seen)


def _notes() -> dict[str, Any]:
    """Read what `up` noted; empty where that is damaged."""
    notes = noted_services()
    try:
        _Notes.model_validate(notes)
    except ValidationError:
        return {}
    return notes


class _Process(BaseModel):
    name: str
    pid: int
    identity: str = ""  # none in the notes of an earlier version, whose services count as dead


class _Notes(BaseModel):
    prefect_api: AnyHttpUrl | None = None
    mlflow: AnyHttpUrl | None = None
    page: AnyHttpUrl | None = None
    processes: list[_Process] = []
    leaderboard: AnyHttpUrl | None = None
    overview: AnyHttpUrl | None = None


def _note(notes: dict[str, Any]) -> None:
    if notes.get("processes"):
        write_whole(services_file(), json.dumps(notes, indent=1).encode(), outputs())
    else:
        services_file().unlink(missing_ok=True)


def _noted_port(name: str) -> int:
    return int(str(urlsplit(_notes()[name]).port))


def _alive(entry: dict[str, Any]) -> bool:
    """Tell whether a noted process is still the one that was started; its number may have gone to another."""
    try:
        process = psutil.Process(entry["pid"])
        return process_identity(process.pid) == entry.get("identity") and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end(entries: Sequence[dict[str, Any]]) -> None:
    """End services with all they started, workers first, so that they can tell the server.

    A worker that ends kills its runs, so these are told before it: each closes its MLflow run and says that it crashed.
    Of a service that has died what it left is ended: a server's child that holds its port, a run that nobody watches.
    """
    for entry in sorted(entries, key=lambda entry: not entry["name"].endswith("worker")):
        family = _family(entry)
        service = family[:1] if _alive(entry) else []
        started = family[len(service) :]
        if entry["name"].endswith("worker") or not service:
            _terminate(started, started)
        _terminate(service, family)


def _terminate(told: Sequence[psutil.Process], awaited: Sequence[psutil.Process]) -> None:
    """Ask processes to end, wait for these and others, and kill what has not ended."""
    for process in told:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(awaited, timeout=15)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _family(entry: dict[str, Any]) -> list[psutil.Process]:
    """Find a service, first, and all that it started: they carry its mark, even after its death."""
    members = [psutil.Process(entry["pid"]), *psutil.Process(entry["pid"]).children(True)] if _alive(entry) else []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(_MARK) == entry.get("mark", "") and process not in members:
                members.append(process)
    return members


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
        f"  Prefect  {notes['prefect_api'].removesuffix('/api')}   run a deployment: Deployments → … → Run\n"
        f"  start    {notes.get('overview') or '-'}   champion, best run, drift\n"
        f"  X-rays   {notes['page']}   drop one, see what is found\n"
        f"  MLflow   {notes.get('leaderboard') or start_page(notes['mlflow'])}   compare experiments: pneumonia/…\n"
        f"  logs     {outputs() / 'services'}   end with: make down"
        + ("" if GPUS else "\n  There is no GPU here: runs of `reports-medgemma` wait for a machine that has one.")
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    actions = {("up",): up, ("down",): down, ("register",): register, ("register", "--reset"): register}
    action = actions.get(tuple(sys.argv[1:]))
    if action is None:
        sys.stderr.write("error: usage: python -m deployments.local.services up|down|register [--reset]\n")
        raise SystemExit(2)
    os.environ.update(environment())  # what registers in this process reads it too
    raise SystemExit(action(*sys.argv[2:]))
