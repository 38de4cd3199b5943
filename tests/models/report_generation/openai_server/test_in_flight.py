import asyncio
from types import SimpleNamespace

import pytest

from models.report_generation.openai_server import in_flight
from models.report_generation.openai_server.in_flight import InFlight


def test_the_shares_of_all_requests_sum_to_the_time_in_which_there_were_any(monkeypatch):
    now = 100.0
    monkeypatch.setattr(in_flight, "time", SimpleNamespace(perf_counter=lambda: now))

    async def work(flight, ticks, shares):
        nonlocal now
        async with flight.place() as share:
            for _ in range(ticks):
                await asyncio.sleep(0)
                now += 1
            shares.append(share())

    async def run():
        flight, shares = InFlight(3), []
        await asyncio.gather(*(work(flight, ticks, shares) for ticks in (5, 10, 2, 3, 4)))
        return shares

    shares = asyncio.run(run())
    assert sum(shares) == pytest.approx(now - 100)
    assert min(shares) == pytest.approx(6 / 3)  # of six seconds, in which three were in flight


def test_no_more_than_so_many_are_in_flight_and_one_that_fails_makes_room():
    most, now = 0, 0

    async def work(flight, number):
        nonlocal most, now
        async with flight.place():
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1
            if number % 2:
                raise RuntimeError(number)

    async def run():
        flight = InFlight(2)
        return await asyncio.gather(*(work(flight, number) for number in range(9)), return_exceptions=True)

    outcomes = asyncio.run(run())
    assert (most, now) == (2, 0)
    assert sum(outcome is None for outcome in outcomes) == 5
