"""Where things are: products, store, trackers and data, all of them set by environment variables.

This module imports neither Prefect nor MLflow, since it decides the environment that both read when they are imported.
"""

import getpass
import http.client
import os
import sysconfig
import urllib.request
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from models.bounded_file import read_file
from models.bounded_json import parse_json
from models.bounds import JSON_BYTES
from models.errors import InputError
from models.text import holds_login, without_logins
from tasks.storage.proxies import loopback_without_proxy

OVERVIEW = "overview"
"""Key of the artifact in Prefect that is the start page."""
_DATABASE_SECONDS = 60  # instead of 5 to connect and 10 to answer, after which a busy machine was an error 500
HEARTBEAT_SECONDS = 30
"""Between two signs of life of a run; Prefect allows no fewer, and waits six times as long if it is not told."""


def outputs() -> Path:
    """Return the folder of all products: `OUTPUTS`, else `outputs` in the working directory."""
    return Path(os.environ.get("OUTPUTS") or "outputs").expanduser().resolve()


def store_uri() -> str:
    """Return the fsspec URI of the artifact store: `STORE_URI` (`s3://…`, a shared mount), else `outputs/store`.

    Raises:
        InputError: it holds a login, which every record of what is stored would repeat.
    """
    uri = os.environ.get("STORE_URI") or str(outputs() / "store")
    if holds_login(uri):
        raise InputError(
            "STORE_URI holds a login, which every record would repeat: leave it out, and give it in the variables of "
            "the file system (AWS_ACCESS_KEY_ID …, or FSSPEC_FTP_USERNAME … for its kind)."
        )
    return uri


def locks() -> Path:
    """Return the folder of the lock files that keep two runs from doing the same step at once."""
    return outputs() / "locks"


def embedded_log() -> Path:
    """Return the file into which the servers that are embedded in runs write what they log."""
    return outputs() / "prefect" / "embedded.log"


def data_folder() -> Path | None:
    """Return the folder named by `DATA` or `MEDMNIST_ROOT`, or None where neither is set."""
    named = os.environ.get("DATA") or os.environ.get("MEDMNIST_ROOT")
    return Path(named).expanduser().resolve() if named else None


def tracking_uri() -> str:
    """Return MLflow's tracking URI: `MLFLOW_TRACKING_URI`, else the SQLite file `outputs/mlflow.db`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{outputs() / 'mlflow.db'}"


def tracking_artifacts() -> str:
    """Return where new MLflow experiments keep their artifacts: `MLFLOW_ARTIFACTS`, else `outputs/mlartifacts`.

    It is set for each experiment, so that a run writes to the same place whether or not a tracking server is up.
    """
    return os.environ.get("MLFLOW_ARTIFACTS") or (outputs() / "mlartifacts").as_uri()


def tracking_page() -> str:
    """Return the address of MLflow's pages: `MLFLOW_UI_URL`, else the tracking server's, else that of `make up`.

    `MLFLOW_UI_URL` is for people who reach the server under another name than the workers do.
    """
    uri = os.environ.get("MLFLOW_UI_URL") or tracking_uri()
    return (
        without_logins(uri).rstrip("/")
        if uri.startswith("http")
        else f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', '5000')}"
    )


def services_file() -> Path:
    """Return the file in which `make up` notes the addresses and processes that it started."""
    return outputs() / "services.json"


def noted_services() -> dict[str, Any]:
    """Read what `make up` noted; empty where it noted nothing, or what is there cannot be read."""
    try:
        notes = parse_json(read_file(services_file(), JSON_BYTES))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def environment() -> dict[str, str]:
    """Return the environment variables that Prefect and MLflow read, where the user has not set them.

    Where the services of `make up` answer, runs go to them; else Prefect starts its embedded server.
    """
    folder = outputs()
    home = str(folder / "prefect")
    variables = {
        "PREFECT_HOME": home,
        "PREFECT_UI_STATIC_DIRECTORY": str(Path(os.environ.get("PREFECT_HOME", home)) / "pages"),  # not in the packages
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(folder / "results"),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # and not pickle, which `tasks.execution.result_records` refuses
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "http://127.0.0.1",  # and not every site that a browser has open
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": str(_DATABASE_SECONDS),
        "PREFECT_SERVER_DATABASE_TIMEOUT": str(_DATABASE_SECONDS),
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes for judges, which nothing here asks for
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
    }
    variables |= _running_services() | _account()
    known = os.environ.keys() | dotenv_values(".env").keys()  # which Prefect reads in the working directory
    return {name: value for name, value in variables.items() if name not in known} | loopback_without_proxy()


def open_directly(request: str | urllib.request.Request, seconds: float) -> Any:
    """Open an address on this machine, past any proxy, as `urllib.request.urlopen` does.

    Raises:
        OSError: nothing answers within so many seconds, or it answers with an error.
    """
    try:
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=seconds)
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP server answers: {error}") from error


def _running_services() -> dict[str, str]:
    services = noted_services()
    try:
        for address in (services["prefect_api"], services["mlflow"]):
            with open_directly(f"{address}/health", 2):
                pass
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):  # also of notes without addresses
        return {}
    return {"PREFECT_API_URL": services["prefect_api"], "MLFLOW_TRACKING_URI": services["mlflow"]}


def _account() -> dict[str, str]:
    """Give a process without an account, a home or room in it what libraries ask for: `docker --user` has neither.

    Prefect's import asks for a home, PyTorch's export for a user's name, matplotlib and numba for a cache folder.
    """
    found, cache = {}, outputs() / "cache"
    if not _can_write(Path(sysconfig.get_path("purelib"))):  # else what numba compiles of a library lies beside it
        found["NUMBA_CACHE_DIR"] = str(cache / "numba")
    try:
        getpass.getuser()
    except (KeyError, OSError):  # which of them depends on Python's version
        found["LOGNAME"] = str(os.getuid())
    try:
        home = Path.home()
    except RuntimeError:
        return found | {"HOME": str(outputs() / "home")}
    if not _can_write(home / ".cache"):
        found |= {"XDG_CACHE_HOME": str(cache), "MPLCONFIGDIR": str(cache / "matplotlib")}
    return found


def _can_write(folder: Path) -> bool:
    """Tell whether files can be made in a folder, or the folder itself where there is none."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
