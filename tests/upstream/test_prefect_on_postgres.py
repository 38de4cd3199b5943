"""Prefect 3.8's server takes a refused connection to its database for its own fault, which no client tries again."""

import asyncio
import socket

import asyncpg
import pytest
from prefect.server.api import server

from deployments.local import prefect_server


def _status(error):
    return asyncio.run(server.custom_internal_exception_handler(None, error)).status_code


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connect call failed"),
        ConnectionResetError(104, "Connect call failed"),
        TimeoutError(),
        socket.gaierror(-2, "Name or service not known"),
        asyncpg.exceptions.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.exceptions.TooManyConnectionsError("sorry, too many clients already"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_database_that_is_away_is_one_to_ask_again(monkeypatch, error):
    monkeypatch.setattr(server, "is_client_retryable_exception", server.is_client_retryable_exception)
    assert _status(error) == 500, "Prefect knows it now: `ask_to_try_again` can go"
    prefect_server.ask_to_try_again()
    assert _status(error) == 503
    assert _status(asyncpg.exceptions.CannotConnectNowError("the database system is starting up")) == 503
    assert _status(ValueError("a fault")) == 500
