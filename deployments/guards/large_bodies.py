"""Keeps requests from filling a server's memory: Prefect and MLflow read a whole body, however large it is."""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BoundedBodies:
    """Stands before an application and refuses bodies that are too large, at the latest when they are.

    Args:
        app: what answers.
        most_bytes: of a body.
        elsewhere: other bounds by the beginning of a path, for what an application streams into files.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, elsewhere: Mapping[str, int] | None = None) -> None:
        self._app, self._most_bytes, self._elsewhere = app, most_bytes, elsewhere or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with status 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = next((size for start, size in self._elsewhere.items() if scope["path"].startswith(start)), None)
        await self._bounded(scope, receive, send, self._most_bytes if most is None else most)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        refusal = PlainTextResponse(f"The body is larger than {most:,} bytes, the most that is taken.", 413)
        declared = Headers(scope=scope).get("Content-Length", "")
        if declared.isdecimal() and int(declared) > most:
            await refusal(scope, receive, send)
            return
        received, answered, refused = 0, False, False

        async def counted() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received <= most:
                return message
            if not answered and not refused:
                refused = True
                await refusal(scope, receive, send)
            return {"type": "http.disconnect"}

        async def unless_refused(message: Message) -> None:
            nonlocal answered
            if not refused:
                answered = True
                await send(message)

        try:
            await self._app(scope, counted, unless_refused)
        except Exception:
            if not refused:  # else it says that the client has gone
                raise
