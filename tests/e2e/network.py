"""What somebody tries on a server over the network: by its names, from other sites, by paths, sizes and silence.

For the test files of tests/e2e that have servers up; each names a server of theirs and a question that it answers.
"""

import http.client
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE_SECONDS = 400
_ELSEWHERE = "evil.example"
_LARGE_BYTES = 200_000_000
_PIECE = b" " * (1 << 20)
_UP = ("..", "%2e%2e", "%252e%252e", "..%2f..", "..%5c..")


def ask(
    address: str, path: str, method: str = "GET", body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Send a request as it stands: no client mends its path or its headers.

    Returns:
        Status and body.
    """
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, body, dict(headers or {}), encode_chunked=body is not None)  # type: ignore[arg-type]
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def require_own_pages_only(address: str, question: str, headers: Mapping[str, str] | None = None) -> None:
    """Require that a question is answered to programs and to the server's own pages, and to no page of another site.

    Args:
        address: of the server.
        question: a path that answers 200.
        headers: a login.
    """
    own, port = urlsplit(address).netloc, urlsplit(address).port
    for more in ({}, {"Origin": f"http://{own}"}):
        assert ask(address, question, headers={**(headers or {}), **more})[0] == 200, more
    foreign = (
        {"Host": f"{_ELSEWHERE}:{port}"},  # its name leads here
        {"Host": f"127.0.0.1.{_ELSEWHERE}:{port}"},
        {"Host": f"{_ELSEWHERE}:{port}", "Origin": f"http://{_ELSEWHERE}:{port}"},
        {"Host": f"10.1.2.3:{port}"},
        {"Host": own, "Origin": f"https://{_ELSEWHERE}"},
        {"Host": own, "Origin": "http://127.0.0.1:8888"},  # another server of this machine
        {"Host": own, "Origin": "null"},
    )
    for more in foreign:
        for method in ("GET", "POST"):
            status, _ = ask(address, question, method, headers={**(headers or {}), **more})
            assert status in (400, 403), (more, method, status)


def require_no_way_out(
    address: str, folders: list[str], secret: Path, headers: Mapping[str, str] | None = None
) -> None:
    """Require that no path leads to a file that is not to be given out.

    Args:
        address: of the server.
        folders: what its paths of files begin with; `{}` in one stands for the way to a file.
        secret: a file that the server could read; no answer holds what it holds.
        headers: a login.
    """
    held = secret.read_bytes()
    for folder in folders:
        for path in _ways_to(secret):
            asked = folder.format(path) if "{}" in folder else f"{folder}{path}"
            _, said = ask(address, asked, headers=headers)
            assert held not in said, asked


def _ways_to(file: Path) -> Iterator[str]:
    """Write the way to a file as those do who look for a server that follows it."""
    for up in _UP:
        for depth in (1, 3, 12):
            yield f"{'/'.join([up] * depth)}{file}"
    yield from (f"/{file}", f"{file}", file.as_uri(), f"{file}%00.png", f"x/..{file}")


def require_bounded(address: str, path: str, method: str = "POST", headers: Mapping[str, str] | None = None) -> None:
    """Require that a body that would fill the server's memory is refused, whether or not it says how large it is."""
    given = {"Content-Type": "application/json", **(headers or {})}
    declared = {**given, "Content-Length": str(_LARGE_BYTES)}
    assert ask(address, path, method, headers=declared)[0] == 413
    try:
        status, _ = ask(address, path, method, iter([_PIECE] * (_LARGE_BYTES // len(_PIECE))), given)
    except ConnectionError:  # it has answered, and reads no more
        return
    assert status == 413


class Silent:
    """Clients of a server that say nothing, or half of a request.

    Args:
        address: of the server.
    """

    def __init__(self, address: str) -> None:
        place = urlsplit(address)
        begun = (
            b"",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nha",
        )
        self._clients = [socket.create_connection((place.hostname, place.port), PATIENCE_SECONDS) for _ in begun]
        for client, words in zip(self._clients, begun, strict=True):
            client.sendall(words)

    def require_left(self) -> None:
        """Require that the server waits for none of them for ever."""
        for client in self._clients:
            with client:
                while client.recv(1 << 16):
                    pass
