"""MLflow's program, `python -m deployments.local.guarded_mlflow`, whose servers stand behind guards.

MLflow by itself answers every page of this machine's loopback, whatever its port, takes bodies of any size, and listens
wherever it is told to. Here `server` and `models serve` refuse other sites' pages and what would fill their memory;
beyond loopback `server` starts with logins only, and `models serve`, which has none, not at all.
"""

import runpy
import shlex
import sys
from typing import Any

from mlflow import server
from mlflow.pyfunc import scoring_server

from deployments.guards.served import SCORING, names_of
from models.errors import InputError

_GUARDED = [sys.executable, "-m", "deployments.guards.served"]


def stand_guard() -> None:
    """Let MLflow start the program of the guards in place of `uvicorn`'s, which it also calls by a name on the PATH."""
    tracking, scoring = server._build_uvicorn_command, scoring_server.get_cmd

    def track(opts: Any, host: str, port: Any, workers: Any, app: str, *others: Any) -> list[str]:
        _require_closed(app, host)
        return [*_GUARDED, *tracking(opts, host, port, workers, app, *others)[3:]]

    def score(model: str, port: Any = None, host: Any = None, *others: Any) -> tuple[str, dict[str, str]]:
        _require_closed(SCORING, host or "127.0.0.1")
        command, variables = scoring(model, port, host, *others)
        return shlex.join([*_GUARDED, *shlex.split(command)[1:]]), variables

    server._build_uvicorn_command = track
    scoring_server.get_cmd = score  # type: ignore[assignment]


def _require_closed(app: str, host: str) -> None:
    try:
        names_of(app, host)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from error


if __name__ == "__main__":
    stand_guard()
    sys.argv[0] = "mlflow"
    runpy.run_module("mlflow", run_name="__main__")
