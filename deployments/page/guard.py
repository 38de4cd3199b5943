"""Who may ask, and what a browser may do with the answer.

A page of another site that is open in the same browser can send requests here too, with the login that the browser
remembers. So a request must be addressed to a name of this page (else the other site's name has been made to lead
here), and one that a script or form of another site sends is refused: browsers say where it comes from in `Origin` and
`Sec-Fetch-Site`, which no script can change. Only links from elsewhere to a page are followed.
"""

import base64
import binascii
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.page.refusal import RefusalError
from deployments.page.settings import PageSettings

HEALTH = "/health"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy: nothing but what lies beside the page, no script within it, in no frame."""
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",  # X-rays do not stay in the browser
}


class Guard:
    """Stands before an application.

    Args:
        app: what answers.
        settings: who may ask.
    """

    def __init__(self, app: ASGIApp, settings: PageSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it before any of its body is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(Request(scope))
        except RefusalError as error:
            login = {"WWW-Authenticate": 'Basic realm="X-rays", charset="UTF-8"'} if error.status == 401 else None
            answer: ASGIApp = JSONResponse({"problem": str(error)}, error.status, login)
        else:
            answer = self._app
        await answer(scope, receive, send_with_headers)

    def _check(self, request: Request) -> None:
        """Refuse what another site sends and who has no login.

        Raises:
            RefusalError: why.
        """
        headers = request.headers
        if _host(headers) not in self._settings.names:
            raise RefusalError(
                400, "The page is not reached by this name: take one that `make up` prints, or add it to PAGE_NAMES."
            )
        if _is_foreign(request):
            raise RefusalError(403, "This comes from a page of another site, which may not use this one: open it here.")
        if request.url.path != HEALTH and not self._knows(headers.get("Authorization", "")):
            raise RefusalError(401, "This page needs a login: give user and password.")

    def _knows(self, authorization: str) -> bool:
        if self._settings.login is None:
            return True
        kind, _, given = authorization.partition(" ")
        try:
            login = base64.b64decode(given.strip(), validate=True) if kind.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            login = b""
        return hmac.compare_digest(login, self._settings.login.encode())


def _host(headers: Headers) -> str | None:
    """Return the host that a request is addressed to, without its port; None unless there is exactly one."""
    named = headers.getlist("Host")
    try:
        return urlsplit(f"//{named[0]}").hostname if len(named) == 1 else None
    except ValueError:
        return None


def _is_foreign(request: Request) -> bool:
    """Tell whether a browser sends this on behalf of another site, and not as a link that a person follows."""
    headers = request.headers
    reads = request.method in ("GET", "HEAD")
    if "Origin" in headers and urlsplit(headers["Origin"]).netloc != headers.get("Host"):
        return True
    if headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none"):
        return False
    return not (reads and headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document")
