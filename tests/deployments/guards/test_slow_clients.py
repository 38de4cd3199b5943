"""Connections on which nothing comes, through the server that is used, with a patience of a moment or of hours."""

import contextlib
import socket

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidMessage
from websockets.sync.client import connect

from deployments.guards import slow_clients
from tests.deployments.guards.serving import served
from tests.e2e.services import wait_for

HOST = b"Host: 127.0.0.1\r\n"
MOMENT, HOURS = 0.2, 9999.0


@pytest.fixture(scope="module")
def port():
    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def refuse(request: Request) -> PlainTextResponse:
        return PlainTextResponse("no", 401)

    async def echo(client: WebSocket) -> None:
        await client.accept()
        await client.send_text(await client.receive_text())

    routes = [Route("/", read, methods=["POST"]), Route("/no", refuse, methods=["POST"]), WebSocketRoute("/ws", echo)]
    with served(Starlette(routes=routes)) as port:
        yield port


@pytest.fixture
def patience(monkeypatch):
    def set_to(**seconds):
        for owed, each in seconds.items():
            monkeypatch.setitem(slow_clients._SECONDS, owed, each)

    return set_to


def _until_closed(port, sent):
    """Send and be silent; return what the server says until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as client:
        client.sendall(sent)
        said = b""
        while piece := client.recv(1 << 16):
            said += piece
        return said


@pytest.mark.parametrize(
    ("sent", "owed"),
    [
        (b"", "head"),
        (b"POST / HTTP/1.1\r\nHost:", "head"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nhalf", "body"),
    ],
)
def test_a_client_that_owes_its_request_is_left(port, patience, sent, owed):
    patience(**{"head": HOURS, "body": HOURS, "rest": HOURS} | {owed: MOMENT})
    assert _until_closed(port, sent) == b""


def test_a_head_that_comes_drop_by_drop_is_not_waited_for_longer(port, patience):
    """Each drop would begin the time anew."""
    patience(head=1.0, body=HOURS, rest=HOURS)
    with socket.create_connection(("127.0.0.1", port), timeout=300) as client:
        client.settimeout(0.05)
        with pytest.raises(OSError):  # closed, in the end, while it still sends
            while True:
                client.sendall(b"P")
                try:
                    if client.recv(1) == b"":
                        raise OSError
                except TimeoutError:
                    pass


def test_what_is_left_of_a_body_is_not_waited_for_once_it_is_answered(port, patience):
    patience(head=HOURS, body=HOURS, rest=MOMENT)
    said = _until_closed(port, b"POST /no HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nhalf")
    assert said.startswith(b"HTTP/1.1 401 ")


def test_a_request_in_pieces_and_the_next_one_are_answered(port, patience):
    patience(head=HOURS, body=HOURS, rest=HOURS)
    with socket.create_connection(("127.0.0.1", port), timeout=300) as client:
        for _ in range(2):
            for piece in (b"POST / HT", b"TP/1.1\r\n" + HOST, b"Content-Length: 4\r\n\r\nab", b"cd"):
                client.sendall(piece)
            said = b""
            while not said.endswith(b"\r\n\r\n4"):
                said += client.recv(1 << 16)
            assert said.startswith(b"HTTP/1.1 200 ")


def test_a_web_socket_may_be_silent(port, patience):
    patience(head=MOMENT, body=MOMENT, rest=MOMENT)

    def connected():
        with contextlib.suppress(OSError, InvalidMessage):  # on a busy machine the first request may come too late
            return connect(f"ws://127.0.0.1:{port}/ws")

    with wait_for(connected) as client:
        with pytest.raises(TimeoutError):
            client.recv(timeout=5 * MOMENT)
        client.send("still here")
        assert client.recv(timeout=300) == "still here"
