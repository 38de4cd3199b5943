"""Events of runs that Prefect's scheduler makes: the first follows one that never comes."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.server.events.ordering import EventArrivedEarly, get_triggers_causal_ordering, memory
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.settings import PREFECT_SERVER_EVENTS_CAUSAL_ORDERING, temporary_settings

from deployments.local import event_order


def _event(name, age, follows):
    occurred = datetime.now(UTC) - age
    return ReceivedEvent(
        id=uuid4(), event=name, occurred=occurred, received=occurred, follows=follows,
        resource={"prefect.resource.id": "prefect.flow-run.x"},
    )  # fmt: skip


async def _taken(ordering, events):
    """Give events to an order as the server does; return those that are taken, those of lost ones last."""
    taken = []

    async def take(event, depth=0):
        try:
            async with ordering.preceding_event_confirmed(take, event, depth):
                taken.append(event.event)
        except EventArrivedEarly:
            pass

    for event in events:
        await take(event)
    for event in await ordering.get_lost_followers():
        await take(event)
    return taken


def _chain(age):
    """The states of a scheduled run whose `Scheduled` is missing, the last one first."""
    pending = _event("Pending", age, uuid4())
    running = _event("Running", age, pending.id)
    return [_event("Failed", age, running.id), running, pending]


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    memory.CausalOrdering.clear_all_scopes()


@pytest.mark.parametrize(("age", "taken"), [(0, []), (11, ["Failed", "Running", "Pending"])])
def test_the_server_waits_seconds_for_an_event_that_never_comes(age, taken):
    with temporary_settings({PREFECT_SERVER_EVENTS_CAUSAL_ORDERING: event_order.__name__}):
        ordering = get_triggers_causal_ordering()
    assert type(ordering) is event_order.CausalOrdering
    assert asyncio.run(_taken(ordering, _chain(timedelta(seconds=age)))) == taken


def test_what_waited_is_taken_in_order():
    async def later():
        ordering = event_order.CausalOrdering("triggers")
        events = _chain(timedelta(seconds=5))  # so that a busy machine has five for the next line
        assert await _taken(ordering, events) == []
        while not (taken := await _taken(ordering, [])):
            await asyncio.sleep(0.1)
        return taken

    assert asyncio.run(later()) == ["Pending", "Running", "Failed"]


def test_prefect_itself_waits_for_minutes():
    """Where it no longer does, `deployments/local/event_order.py` can go."""
    ordering = memory.CausalOrdering("triggers")
    assert asyncio.run(_taken(ordering, _chain(timedelta(minutes=5)))) == []
