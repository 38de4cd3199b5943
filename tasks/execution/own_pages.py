"""Keeps pages of other sites from a server.

Whoever has such a server up and opens any page of the web lets that page send requests to it: by the address of the
loopback, or by a name of its own that it makes lead there (DNS rebinding). A server that starts runs must answer
neither. Browsers say in `Host` whom they address and in `Origin` which page asks; programs send no `Origin`.

The embedded server reads this file by its path: it imports nothing of the project.
"""

from collections.abc import Set
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_POLICY_VIOLATION = 1008  # RFC 6455


class OwnPagesOnly:
    """Stands before an application.

    Args:
        app: what answers.
        names: hosts that a request may be addressed to, without their ports.
    """

    def __init__(self, app: ASGIApp, names: Set[str] = LOOPBACK_NAMES) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer requests and web sockets of programs and of the server's own pages; refuse others unread."""
        answer = self._app
        if scope["type"] in ("http", "websocket") and _is_foreign(Headers(scope=scope), self._names):
            answer = (
                PlainTextResponse("This comes from a page of another site, which may not use this server.", 403)
                if scope["type"] == "http"
                else WebSocketClose(_POLICY_VIOLATION)
            )
        await answer(scope, receive, send)


def _is_foreign(headers: Headers, own: Set[str]) -> bool:
    try:
        hosts = [urlsplit(f"//{host}") for host in headers.getlist("Host")]
        pages = [urlsplit(page) for page in headers.getlist("Origin")]
        ports = {each.port for each in (*hosts, *pages)}
        names = {each.hostname for each in (*hosts, *pages)}
    except ValueError:
        return True
    return len(hosts) != 1 or len(ports) != 1 or not names <= own
