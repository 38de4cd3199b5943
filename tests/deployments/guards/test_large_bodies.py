"""Bodies that are too large, declared and not, through the server that is used."""

import http.client

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from deployments.guards.large_bodies import BoundedBodies
from tests.deployments.guards.serving import served

MOST, MORE = 1000, 5000


@pytest.fixture(scope="module")
def port():
    async def size(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    routes = [Route("/{path:path}", size, methods=["POST"])]
    with served(BoundedBodies(Starlette(routes=routes), MOST, {"/files/": MORE})) as port:
        yield port


def _post(port, path, content, chunked):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    pieces = (content[at : at + 100] for at in range(0, len(content), 100))
    connection.request("POST", path, pieces if chunked else content, encode_chunked=chunked)
    answer = connection.getresponse()
    said = answer.status, answer.read().decode()
    connection.close()
    return said


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("path", "most"), [("/", MOST), ("/files/a", MORE), ("/other/files/", MOST)])
def test_a_body_is_taken_up_to_its_bound(port, path, most, chunked):
    assert _post(port, path, b"a" * most, chunked) == (200, str(most))
    status, said = _post(port, path, b"a" * (most + 1), chunked)
    assert (status, said) == (413, f"The body is larger than {most:,} bytes, the most that is taken.")


def test_a_length_is_believed_before_anything_is_read(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
