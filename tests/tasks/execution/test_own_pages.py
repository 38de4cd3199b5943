import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tasks.execution.own_pages import OwnPagesOnly

OWN = [
    {"Host": "127.0.0.1:4200"},
    {"Host": "localhost:4200"},
    {"Host": "[::1]:4200"},
    {"Host": "localhost"},
    {"Host": "127.0.0.1:4200", "Origin": "http://127.0.0.1:4200"},
    {"Host": "127.0.0.1:4200", "Origin": "http://localhost:4200"},
]
FOREIGN = [
    {"Host": "evil.example:4200"},  # its name leads here
    {"Host": "127.0.0.1.evil.example:4200"},
    {"Host": "127.0.0.1:4200", "Origin": "https://evil.example"},
    {"Host": "127.0.0.1:4200", "Origin": "http://127.0.0.1.evil.example:4200"},
    {"Host": "127.0.0.1:4200", "Origin": "http://127.0.0.1:8888"},  # another server of this machine
    {"Host": "127.0.0.1:4200", "Origin": "null"},  # a file, or a frame in a sandbox
    {"Host": "127.0.0.1:4200", "Origin": "http://127.0.0.1:no"},
    {"Host": "evil.example:4200", "Origin": "http://evil.example:4200"},
    {"Host": "127.0.0.1:4200@evil.example"},
    {"Host": ""},
]


@pytest.fixture
def client():
    async def answer(request):
        return PlainTextResponse("answer")

    async def talk(socket):
        await socket.accept()
        await socket.send_text("answer")
        await socket.close()

    return TestClient(
        OwnPagesOnly(Starlette(routes=[Route("/", answer, methods=["POST"]), WebSocketRoute("/out", talk)]))
    )


@pytest.mark.parametrize("headers", OWN)
def test_programs_and_own_pages_are_answered(client, headers):
    assert client.post("/", headers=headers).text == "answer"
    with client.websocket_connect("/out", headers=headers) as socket:
        assert socket.receive_text() == "answer"


@pytest.mark.parametrize("headers", FOREIGN)
def test_pages_of_other_sites_are_refused(client, headers):
    answer = client.post("/", headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.text
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/out", headers=headers):
        pass
    assert refused.value.code == 1008


def test_two_hosts_are_none(client):
    assert client.post("/", headers=[("Host", "127.0.0.1"), ("Host", "127.0.0.1")]).status_code == 403
