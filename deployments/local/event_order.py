"""In which order automations take events: as Prefect does, but one whose predecessor is lost waits seconds.

A run that the server's scheduler makes has no event of its first state, which the event of its next state follows. Of
such runs, automations would learn all a quarter of an hour late: that one failed, and that one has ended, so that it
would be taken for silent. `PREFECT_SERVER_EVENTS_CAUSAL_ORDERING` names this module.
"""

from datetime import UTC, datetime, timedelta

from prefect.server.events.ordering import memory
from prefect.server.events.schemas.events import ReceivedEvent

PATIENCE = timedelta(seconds=10)
"""Within one server, an event that comes at all comes much sooner."""


class CausalOrdering(memory.CausalOrdering):
    """Prefect's order in memory, with less patience."""

    async def wait_for_leader(self, event: ReceivedEvent) -> None:
        """Wait for the event that this one follows, unless that must be lost.

        Raises:
            EventArrivedEarly: it is to come.
        """
        if datetime.now(UTC) - event.received < PATIENCE:
            await super().wait_for_leader(event)

    async def get_lost_followers(self) -> list[ReceivedEvent]:
        """Return the events whose predecessor must be lost, in the order in which they occurred."""
        latest = datetime.now(UTC) - PATIENCE
        async with self._lock:
            lost = [event for event in self._events.values() if event.received <= latest]
        for event in lost:
            await self.forget_follower(event)
        return sorted(lost, key=lambda event: event.occurred)
