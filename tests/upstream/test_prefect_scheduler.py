"""Prefect's scheduler on the installed SQLAlchemy.

Prefect 3.8 names no upper bound of SQLAlchemy, and with 2.1 each cycle of its server's scheduler raises into the
server's log: schedules are shown as on, and none ever makes a run. Hence `sqlalchemy<2.1` in requirements.in.
"""

import asyncio
from datetime import timedelta
from importlib.metadata import version

import pytest
from prefect.server import models, schemas
from prefect.server.database import provide_database_interface
from prefect.server.schemas.actions import DeploymentScheduleCreate
from prefect.server.schemas.schedules import IntervalSchedule
from prefect.server.services import scheduler
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL, temporary_settings


async def _runs_of_a_cycle(name):
    """Let one loop of the scheduler run once beside an active schedule, and count the runs that it makes."""
    db = provide_database_interface()
    await db.create_db()
    async with db.session_context(begin_transaction=True) as session:
        flow = await models.flows.create_flow(session, schemas.core.Flow(name="flow"))
        hourly = DeploymentScheduleCreate(active=True, schedule=IntervalSchedule(interval=timedelta(hours=1)))
        deployment = schemas.core.Deployment(name="deployment", flow_id=flow.id, schedules=[hourly.model_dump()])
        await models.deployments.create_deployment(session, deployment)
    await getattr(scheduler, name)()
    async with db.session_context() as session:
        made = await models.flow_runs.read_flow_runs(session)
    await (await db.engine()).dispose()
    return made


@pytest.mark.parametrize("cycle", ["schedule_deployments", "schedule_recent_deployments"])
def test_a_cycle_makes_runs_with_the_installed_sqlalchemy(tmp_path, cycle):
    address = f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}"
    with temporary_settings({PREFECT_SERVER_DATABASE_CONNECTION_URL: address}):
        try:
            made = asyncio.run(_runs_of_a_cycle(cycle))
        except Exception as error:
            pytest.fail(
                f"Prefect {version('prefect')}'s scheduler does not work with SQLAlchemy {version('sqlalchemy')}, so "
                f"that no schedule would ever make a run: {type(error).__name__}: {error}"
            )
    assert len(made) >= 3
    assert {run.state.name for run in made} == {"Scheduled"}
    assert {"auto-scheduled"} == {tag for run in made for tag in run.tags}
