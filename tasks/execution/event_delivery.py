"""Events of a run reach a Prefect server that was away for minutes.

What becomes of a step is an event to Prefect. Its own client drops an event where no server answers for some ten
seconds; the step is then missing on the page of its run, or stays *Running* there for ever.
"""

import asyncio
import time
from typing import Any, Self

from prefect.events.clients import PrefectEventsClient
from prefect.events.schemas.events import Event
from prefect.events.worker import EventsWorker, emit_events_to_cloud

from tasks.execution.server import is_embedded

PATIENCE_SECONDS = 240.0
"""For which a server may be away; a process that ends meanwhile waits as long for what it still has to tell."""


class PatientEventsClient(PrefectEventsClient):
    """Waits for a server that is away, once; of one that stays away it expects nothing more until it is back.

    Args:
        patience: seconds.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS, **options: Any) -> None:
        super().__init__(reconnection_attempts=int(patience), **options)  # at a second each at least
        self._patience = patience
        self._away_since: float | None = None

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(self._patience):  # also where an attempt takes longer than a second to fail
            return await super().__aenter__()

    async def _emit(self, event: Event) -> None:
        begun = time.monotonic()
        waited = 0.0 if self._away_since is None else begun - self._away_since
        try:
            async with asyncio.timeout(max(1.0, self._patience - waited)):
                await super()._emit(event)
        except Exception:
            self._away_since = begun if self._away_since is None else self._away_since
            raise
        self._away_since = None


def deliver_patiently() -> None:
    """Let events of this process wait for its server, where that is neither embedded nor Prefect's cloud."""
    if EventsWorker._client_override is None and not is_embedded() and not emit_events_to_cloud():
        EventsWorker.set_client_override(PatientEventsClient)
