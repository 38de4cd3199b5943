"""How a test's own process speaks to a server that it started."""

import contextlib
from collections.abc import Iterator
from typing import Any

from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

PATIENCE_SECONDS = 300


@contextlib.contextmanager
def client_of(api: str, others: dict[Any, Any] | None = None) -> Iterator[None]:
    """Speak to a server.

    What sends events keeps the server that it had first, also when that one is gone: it must neither come from another
    test nor go on to the next one.

    Args:
        api: the server's address.
        others: more settings.
    """
    EventsWorker.drain_all(timeout=PATIENCE_SECONDS)
    with temporary_settings({PREFECT_API_URL: api} | (others or {})):
        yield
        EventsWorker.drain_all(timeout=PATIENCE_SECONDS)
