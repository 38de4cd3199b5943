"""Ends connections on which a client is silent while it owes a request; uvicorn waits for ever.

Each such connection is one of the file descriptors that a process may have, and of the requests at once that the page
for X-rays takes: a hundred clients that send nothing would keep all others out.
"""

import asyncio
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
"""For a request's line and headers to arrive, all of them; also for what is left of a body after its answer."""
BODY_SECONDS = 60.0
"""Between two pieces of a body."""
PROTOCOL = f"{__name__}:Impatient"
"""What uvicorn takes as `http`."""

_Owed = Literal["head", "body", "rest"]
_SECONDS: dict[_Owed, float] = {"head": HEAD_SECONDS, "body": BODY_SECONDS, "rest": HEAD_SECONDS}


class Impatient(H11Protocol):
    """A connection that is closed where its client is silent for too long."""

    _owed: _Owed | None = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what has come, and wait for the rest."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to the web socket, which may be silent."""
        self._stop()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Set the time by which more has to come; that of a head goes on, whatever part of it comes."""
        owed = self._what_is_owed()
        if owed == self._owed and owed != "body":
            return
        self._stop()
        if owed is not None:
            self._owed, self._timer = owed, self.loop.call_later(_SECONDS[owed], self._give_up)

    def _what_is_owed(self) -> _Owed | None:
        if self.transport.get_protocol() is not self or self.transport.is_closing():
            return None
        theirs: Any = self.conn.their_state
        if theirs is h11.IDLE:
            return "head"
        if theirs is h11.SEND_BODY:
            return "rest" if self.conn.our_state is h11.DONE else "body"
        return None

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._owed = self._timer = None

    def _give_up(self) -> None:
        self._owed = self._timer = None
        if self.flow.read_paused:  # it is the application that does not take more
            self._watch()
        else:
            self.transport.close()
