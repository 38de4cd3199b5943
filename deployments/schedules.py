"""What a person switched on stays on, although `prefect deploy` sets each schedule to `prefect.yaml`: off."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def schedules_kept(api: str) -> Iterator[None]:
    """Switch those schedules on again, at the end of the block, that were on at its start.

    A schedule is the same if its deployment and its slug are; one that is gone at the end stays gone.

    Args:
        api: address of the Prefect server's API.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        before = client.read_deployments()
        on = {(each.id, schedule.slug) for each in before for schedule in each.schedules if schedule.active}
        yield
        for each in client.read_deployments():
            for schedule in each.schedules:
                if (each.id, schedule.slug) in on and not schedule.active:
                    client.update_deployment_schedule(each.id, schedule.id, active=True)
