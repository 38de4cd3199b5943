"""The server is a real one that listens for web sockets, and comes late; waits are short, their number is not."""

import asyncio
import json
import time

import pytest
from prefect.events import Event
from prefect.events import clients as prefect_clients
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from websockets.asyncio.server import serve

from tasks.execution.event_delivery import PatientEventsClient, deliver_patiently
from tests.support.ports import free_port

_sleep = asyncio.sleep


@pytest.fixture
def server(monkeypatch):
    """A server that `listens` for a while and says what it has `heard`."""

    class Server:
        def __init__(self):
            self.port, self.heard = free_port(), []
            self.url = f"http://127.0.0.1:{self.port}/api"

        async def _take(self, connection):
            await connection.recv()
            await connection.send(json.dumps({"type": "auth_success"}))
            async for message in connection:
                self.heard.append(json.loads(message)["event"])

        def listens(self):
            return serve(self._take, "127.0.0.1", self.port, subprotocols=["prefect"])

    async def known(*arguments, **named):
        """Take no interest in the version."""

    monkeypatch.setattr(prefect_clients, "check_server_version", known)
    monkeypatch.setattr(prefect_clients.asyncio, "sleep", lambda seconds: _sleep(seconds / 50))
    return Server()


def event(name):
    return Event(event=name, resource={"prefect.resource.id": "a-test"})


async def _after_an_absence(server, client):
    async with server.listens():
        await client.__aenter__()
        await client.emit(event("before"))
    told = asyncio.create_task(client.emit(event("meanwhile")))
    await _sleep(1)
    try:
        async with server.listens():
            await told
            await client.emit(event("after"))
            await _sleep(0.1)
    finally:
        await client.__aexit__(None, None, None)


def test_an_event_waits_for_a_server_that_is_away(server):
    asyncio.run(_after_an_absence(server, PatientEventsClient(api_url=server.url)))
    assert set(server.heard) == {"before", "meanwhile", "after"}


def test_prefects_own_does_not(server):
    """Where it does, `tasks/execution/event_delivery.py` can go."""
    with pytest.raises(OSError, match="Connect call failed"):
        asyncio.run(_after_an_absence(server, PrefectEventsClient(server.url)))


def test_a_server_that_does_not_even_refuse_is_waited_for_once(server, monkeypatch):
    async def emit_all():
        client = PatientEventsClient(3, api_url=server.url)
        async with server.listens():
            await client.__aenter__()
        monkeypatch.setattr(client, "_reconnect", lambda: _sleep(60))
        for name in ("first", "second"):
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                await client.emit(event(name))
            yield time.monotonic() - begun

    async def taken():
        return [seconds async for seconds in emit_all()]

    first, second = asyncio.run(taken())
    assert 2.9 < first < 20
    assert second < first - 1  # its second is over on a busy machine, too


def test_a_server_that_does_not_even_refuse_is_not_waited_for_longer_at_the_beginning(server, monkeypatch):
    client = PatientEventsClient(1, api_url=server.url)
    monkeypatch.setattr(client, "_reconnect", lambda: _sleep(60))
    with pytest.raises(TimeoutError):
        asyncio.run(client.__aenter__())


@pytest.fixture
def _as_before():
    before = EventsWorker._client_override
    yield
    EventsWorker._client_override = before


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize(
    ("url", "client"),
    [
        (None, None),
        ("http://127.0.0.1:4200/api", PatientEventsClient),
        ("https://api.prefect.cloud/api/accounts/a/workspaces/b", None),
    ],
)
def test_a_server_that_stays_is_told_patiently_and_no_other(url, client):
    EventsWorker.set_client_override(None)
    with temporary_settings({PREFECT_API_URL: url}):
        deliver_patiently()
    found = EventsWorker._client_override
    assert (found and found[0]) is client
