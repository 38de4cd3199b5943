"""Serves an application behind all guards.

As a program, `python -m deployments.guards.served` with the words of `uvicorn`, it takes the place of the one that
MLflow starts for its servers.
"""

import importlib
import sys
from collections.abc import Mapping, Set
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.importer import import_from_string

from deployments.guards.large_bodies import BoundedBodies
from deployments.guards.reach import server_names
from deployments.guards.slow_clients import PROTOCOL
from models.bounds import UNPACKED_BYTES
from models.errors import InputError
from tasks.execution.own_pages import OwnPagesOnly

MOST_BYTES = 32 << 20
"""Of a request to Prefect or MLflow: what they log and show takes a few million bytes."""
SCORING = "mlflow.pyfunc.scoring_server.app:app"
"""MLflow's scoring server."""
_SCORED_BYTES = 140_000_000  # a picture of 100 MB in base64
_FILES = {f"/{api}/2.0/mlflow-artifacts/": UNPACKED_BYTES for api in ("api", "ajax-api")}  # which become files at once
_WITH_LOGIN = "mlflow.server.auth:"
_run = uvicorn.run


def run(
    app: ASGIApp, *, names: Set[str], most_bytes: int, elsewhere: Mapping[str, int] | None = None, **options: Any
) -> None:
    """Serve an application until the process is told to end.

    Args:
        app: what answers.
        names: hosts that a request may be addressed to.
        most_bytes: of a request's body.
        elsewhere: other bounds by the beginning of a path.
        options: uvicorn's.
    """
    _run(BoundedBodies(OwnPagesOnly(app, names), most_bytes, elsewhere), **options | {"http": PROTOCOL})


def names_of(app: str, host: str) -> frozenset[str]:
    """Return the names of one of MLflow's servers; refuse one that others reach without a login.

    Args:
        app: the server, as uvicorn is told.
        host: the address that it listens on.

    Returns:
        Hosts, without ports.

    Raises:
        InputError: it is open beyond this machine without a login, or without names.
    """
    login = "put a proxy that asks for one before it" if app == SCORING else "start it with --app-name basic-auth"
    return server_names(host, has_login=app.startswith(_WITH_LOGIN), login=login)


def _run_by_name(app: str, *, host: str, factory: bool = False, app_dir: str | None = None, **options: Any) -> None:
    """Do what `uvicorn.run` does for its program."""
    names = names_of(app, host)
    made = import_from_string(app)
    bounds: dict[str, Any] = {"most_bytes": MOST_BYTES, "elsewhere": _FILES}
    if app == SCORING:
        bounds = {"most_bytes": _SCORED_BYTES}
    run(made() if factory else made, names=names, host=host, **bounds, **options | {"workers": 1})


if __name__ == "__main__":
    program: Any = importlib.import_module("uvicorn.main")  # as an attribute of the package this is a function
    program.run = _run_by_name
    try:
        program.main()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from error
