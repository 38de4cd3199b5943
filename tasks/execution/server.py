"""The Prefect server of this process: the embedded one, or the one that is named in Prefect's settings.

Those come from more than the environment: from `.env`, `prefect.toml` and `pyproject.toml` in the working folder, and
from profiles. So Prefect itself is asked.
"""

import os

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_UI_URL,
    temporary_settings,
)

from models.errors import InputError
from models.text import printable, without_logins
from tasks.storage.database_servers import require_database

ANSWER_SECONDS = 3
_DRIVERS = ("postgresql+asyncpg://", "sqlite+aiosqlite://")


def is_embedded() -> bool:
    """Tell whether the server lives and ends with this process."""
    return not PREFECT_API_URL.value()


def prefect_page() -> str:
    """Return the address of Prefect's pages: `PREFECT_UI_URL`, else those of the API's server or of `make up`.

    Prefect itself leads to the earlier version of its pages where nobody has said otherwise.
    """
    named, api = (without_logins(each.value() or "") for each in (PREFECT_UI_URL, PREFECT_API_URL))
    if named and named != api.removesuffix("/api"):
        return named.rstrip("/")
    here = f"http://127.0.0.1:{os.environ.get('PREFECT_PORT', '4200')}"
    return f"{named or here}/v2"


def flow_run_page(flow_run_id: str) -> str:
    """Return the address of a flow run's page."""
    return f"{prefect_page()}/runs/flow-run/{flow_run_id}"


def require_own_database() -> None:
    """Refuse a database that Prefect cannot use or that does not answer, where a server is to start here.

    Raises:
        InputError: it is one or the other.
    """
    url, variable = PREFECT_API_DATABASE_CONNECTION_URL.value(), "PREFECT_SERVER_DATABASE_CONNECTION_URL"
    if url is None:
        return
    require_database(url, variable)
    if not url.startswith(_DRIVERS):
        raise InputError(
            f"{variable} names a database that Prefect cannot use: it begins with neither {' nor '.join(_DRIVERS)}."
        )


def require_server() -> None:
    """Refuse, before anything is computed, a server that does not answer.

    Raises:
        InputError: nothing, or no Prefect server, answers at the address, or the way to it is wrongly set; or the
            database is not there that the embedded server is to use.
    """
    address = PREFECT_API_URL.value()
    if address is None:
        require_own_database()
        return
    shown = "PREFECT_API_URL=" + printable(address.partition("?")[0])  # what follows may be a secret
    ways = "end that setting for a server of the run's own, or see `prefect config view` for where it comes from"
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(httpx_settings={"timeout": ANSWER_SECONDS}, sync_client=True) as client,
        ):
            client.hello().raise_for_status()
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        reason = "asks for a login (PREFECT_API_AUTH_STRING, or PREFECT_API_KEY)" if code in (401, 403) else (
            f"is no Prefect server's API (it answers {code} to /hello)"
        )  # fmt: skip
        raise InputError(f"{shown} {reason}: mend it, {ways}.") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise InputError(f"{shown} does not answer ({printable(error)}): start it (`make up`), {ways}.") from error
