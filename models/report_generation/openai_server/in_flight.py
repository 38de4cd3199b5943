"""How many requests are in flight, and how the seconds are shared out among them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class InFlight:
    """Lets so many requests be in flight at once.

    Args:
        at_once: requests.
    """

    def __init__(self, at_once: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._count = 0
        self._clock = 0.0  # seconds that a request has got which was in flight all the time
        self._read_at = 0.0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Callable[[], float]]:
        """Wait for room, and take it.

        Yields:
            What tells the request's share of the seconds until now: of a second in which n requests are in flight, each
            gets the n-th part, so that the shares of all sum to the time in which there were any.
        """
        async with self._room:
            entered = self._read_clock()
            self._count += 1
            try:
                yield lambda: self._read_clock() - entered
            finally:
                self._read_clock()
                self._count -= 1

    def _read_clock(self) -> float:
        now = time.perf_counter()
        if self._count:
            self._clock += (now - self._read_at) / self._count
        self._read_at = now
        return self._clock
