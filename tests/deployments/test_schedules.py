"""Schedules that a person switched on, on a real server, while its deployments are registered anew."""

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentScheduleUpdate, DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL

from deployments.schedules import schedules_kept

pytestmark = pytest.mark.usefixtures("prefect_server")
SLUGS = ("nightly", "weekly", "monthly")
CLOCK = CronSchedule(cron="0 3 * * *", timezone="UTC")


def test_what_was_on_is_on_again_and_what_was_off_stays_off():
    with get_client(sync_client=True) as client:
        schedules = [DeploymentScheduleCreate(schedule=CLOCK, active=False, slug=slug) for slug in SLUGS]
        flow = client.create_flow_from_name("a flow with schedules")
        deployment = client.create_deployment(flow, "a deployment with schedules", schedules=schedules)
        for slug, active in (("nightly", True), ("weekly", True), ("weekly", False)):  # the second thought counts
            client.update_deployment_schedule(deployment, _schedules(client, deployment)[slug].id, active=active)
        with schedules_kept(PREFECT_API_URL.value()):
            later = CronSchedule(
                cron="0 5 * * *", timezone="UTC"
            )  # as `prefect deploy` does after a change of the file
            changed = [DeploymentScheduleUpdate(schedule=later, active=False, slug=slug) for slug in SLUGS]
            client.update_deployment(deployment, DeploymentUpdate(schedules=changed))
            assert not any(schedule.active for schedule in _schedules(client, deployment).values())
        found = _schedules(client, deployment)
        assert {slug for slug, schedule in found.items() if schedule.active} == {"nightly"}
        assert {schedule.schedule.cron for schedule in found.values()} == {"0 5 * * *"}
        client.delete_deployment(deployment)


def _schedules(client, deployment):
    return {schedule.slug: schedule for schedule in client.read_deployment(deployment).schedules}
