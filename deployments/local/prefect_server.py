"""The Prefect server of `make up`: `prefect server`, with seven changes. It also keeps the logs of all services small.

Late runs say in their state what they may wait for.

Where a webhook refuses an alert, its log says so without the address, which is a secret.

Its pages reach no other address than the server's own. They would call one of an analytics service, which the setting
that switches analytics off does not prevent.

It answers programs and its own pages, and no page of another site that is open in the same browser. It takes no body
that would fill its memory, and waits for no client for ever. Beyond loopback it starts with a login only.

While PostgreSQL is away, for a restart for instance, it answers that one may try again (503), as its clients then do.
Prefect answers 500 where the connection is refused, a fault of its own, by which the run that asked ends.

SQLite's transactions begin so that none is turned away.
Prefect begins most of its transactions on SQLite as readers. One that has read and then wants to write, while another
has written in between, is refused at once (`database is locked`, SQLITE_BUSY_SNAPSHOT), however long the busy timeout:
of nine runs that are triggered at the same time, eight are answered 503, and an event that an automation waits for is
lost. One that begins as a writer (BEGIN IMMEDIATE), as Prefect begins a few, waits for its turn instead.

Its threads share one heap, without which its memory grows with the runs that it has seen.
"""

import functools
import runpy
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from prefect.server.api import server
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.events.actions import SendNotification
from prefect.server.events.schemas.automations import TriggeredAction
from prefect.server.schemas import states
from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, PREFECT_UI_API_URL
from sqlalchemy.ext.asyncio import AsyncSession

from deployments.guards.reach import server_names
from deployments.guards.served import MOST_BYTES, run
from models.errors import InputError
from models.memory import share_one_heap
from tasks.storage.locations import outputs
from tasks.storage.log_files import keep_small

LATE = (
    "No worker has taken this run in time: its work pool has none (`gpu` needs one on a machine with a GPU), or has no "
    "room, or the pool or the queue is paused. Work Pools in the Prefect UI shows which; `make up` starts workers."
)


def begin_as_writers() -> None:
    """Make all transactions of this process on SQLite begin as writers. PostgreSQL needs no such thing."""
    begin = AioSqliteConfiguration.begin_transaction

    def begin_transaction(
        self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
    ) -> AbstractAsyncContextManager[Any]:
        return begin(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[assignment]


def ask_to_try_again() -> None:
    """Let the server call the requests that fail for want of a connection to PostgreSQL such as may be tried again."""
    known = server.is_client_retryable_exception
    away = (
        ConnectionError,
        TimeoutError,
        socket.gaierror,  # of the name of a container that is being replaced
        asyncpg.exceptions.PostgresConnectionError,
        asyncpg.exceptions.OperatorInterventionError,  # is shut down, or starts
        asyncpg.exceptions.InsufficientResourcesError,  # has all the connections that it takes
    )

    def is_client_retryable_exception(exc: Exception) -> bool:
        return isinstance(exc, away) or known(exc)

    server.is_client_retryable_exception = is_client_retryable_exception


def explain_late_runs() -> None:
    """Let the server's service that calls a run late say what the run may wait for."""
    states.Late = functools.partial(states.Late, message=LATE)


def keep_webhooks_secret() -> None:
    """Let what is logged of an alert that could not be sent leave out where to, since who knows that can post there."""
    act = SendNotification.act

    async def act_discreetly(self: SendNotification, triggered_action: TriggeredAction) -> None:
        try:
            await act(self, triggered_action)
        except httpx.HTTPStatusError as error:
            raise RuntimeError(f"An alert was not taken: its webhook answers {error.response.status_code}.") from None

    SendNotification.act = act_discreetly  # type: ignore[method-assign]


def keep_pages_at_home() -> None:
    """Let browsers refuse what the pages ask of other addresses than the server's, and to show them within others'."""
    make = server.create_ui_app

    def create_ui_app(ephemeral: bool) -> FastAPI:
        app, api = make(ephemeral), urlsplit(PREFECT_UI_API_URL.value() or "")
        sockets = "wss" if api.scheme == "https" else "ws"
        own = f" {api.scheme}://{api.netloc} {sockets}://{api.netloc}" if api.netloc else ""

        @app.middleware("http")
        async def restrict(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
            response = await call_next(request)
            policy = f"connect-src 'self' data: blob:{own}; frame-ancestors 'self'"
            response.headers["Content-Security-Policy"] = policy
            return response

        return app

    server.create_ui_app = create_ui_app


def stand_guard() -> None:
    """Let the server be served behind the guards, and beyond loopback with a login only."""

    def run_guarded(app: Any, *, host: str, **options: Any) -> None:
        has_login = bool(PREFECT_SERVER_API_AUTH_STRING.value())
        try:
            names = server_names(host, has_login=has_login, login="set PREFECT_SERVER_API_AUTH_STRING=user:password")
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            raise SystemExit(2) from error
        run(app, names=names, most_bytes=MOST_BYTES, host=host, **options)

    uvicorn.run = run_guarded  # type: ignore[assignment]


if __name__ == "__main__":
    share_one_heap()
    stand_guard()
    begin_as_writers()
    ask_to_try_again()
    keep_webhooks_secret()
    keep_pages_at_home()
    explain_late_runs()
    keep_small(outputs() / "services")
    sys.argv[0] = "prefect"
    sys.argv.insert(1, "server")
    runpy.run_module("prefect", run_name="__main__")
