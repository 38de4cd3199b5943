"""How the server begins transactions on SQLite: as readers, which `deployments.local.prefect_server` changes."""

import asyncio

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError

from deployments.local.prefect_server import begin_as_writers

WRITERS = 4


async def _write_together(address, *, all_may_read):
    """Count up in transactions; where all may read at once, they do before the first one writes."""
    read = asyncio.Barrier(WRITERS)
    config = AioSqliteConfiguration(address)
    engine = await config.engine()
    async with await config.session(engine) as session, config.begin_transaction(session):
        await session.execute(sa.text("CREATE TABLE counter (value INTEGER)"))
        await session.execute(sa.text("INSERT INTO counter VALUES (0)"))

    async def count():
        async with await config.session(engine) as session, config.begin_transaction(session):
            (value,) = (await session.execute(sa.text("SELECT value FROM counter"))).one()
            await (read.wait() if all_may_read else asyncio.sleep(0.2))
            await session.execute(sa.text("UPDATE counter SET value = :value"), {"value": value + 1})

    done = await asyncio.gather(*(count() for _ in range(WRITERS)), return_exceptions=True)
    async with await config.session(engine) as session:
        (value,) = (await session.execute(sa.text("SELECT value FROM counter"))).one()
    await engine.dispose()
    return value, [error for error in done if error]


def _address(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}"


def test_transactions_that_begin_as_writers_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", AioSqliteConfiguration.begin_transaction)
    begin_as_writers()
    assert asyncio.run(_write_together(_address(tmp_path), all_may_read=False)) == (WRITERS, [])


def test_of_those_that_prefect_begins_all_but_one_fail(tmp_path):
    """Where they no longer do, `deployments/local/prefect_server.py` can go."""
    value, errors = asyncio.run(_write_together(_address(tmp_path), all_may_read=True))
    assert value == 1
    assert len(errors) == WRITERS - 1
    with pytest.raises(OperationalError, match="database is locked"):
        raise errors[0]
