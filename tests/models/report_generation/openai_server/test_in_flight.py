import asyncio
import time

import pytest

from models.report_generation.openai_server.in_flight import InFlight


def test_the_shares_of_all_requests_sum_to_the_time_in_which_there_were_any():
    async def work(flight, seconds, shares):
        async with flight.place() as share:
            await asyncio.sleep(seconds)
            shares.append(share())

    async def run():
        flight, shares = InFlight(3), []
        started = time.perf_counter()
        await asyncio.gather(*(work(flight, seconds, shares) for seconds in (0.05, 0.1, 0.02, 0.03, 0.04)))
        return sum(shares), time.perf_counter() - started

    shared, passed = asyncio.run(run())
    assert shared == pytest.approx(passed, abs=0.01)


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
