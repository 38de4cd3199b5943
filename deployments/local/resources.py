"""What deployments and runs find on the Prefect server: work pools with their queues, and the limit of the GPUs.

Only what is missing is made: what a person has changed since, in the UI for instance, stays.

`deployments.local.set_up` makes them.
"""

import os

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from deployments.local.services import GPUS
from tasks.execution.gpu import LIMIT
from tasks.execution.variables import DRIFT_VARIABLE

SEARCHES = "searches"
_FIRST = 1


def make_resources() -> None:
    """Make what is missing."""
    with get_client(sync_client=True) as client:
        _pool(
            client,
            "cpu",
            "Runs without a GPU. One that stays Late waits for room (see Concurrency Limit), or the pool or its "
            "queue is paused, or its worker is gone: `make up` starts it again.",
            max(2, os.cpu_count() or 1),
        )
        _pool(
            client,
            "gpu",
            "Runs that need a GPU. They wait until a worker on a machine with a GPU takes them: `make up` starts one "
            "there.",
            None,  # the limit of the GPUs holds its runs
        )
        _queue(client, "cpu", SEARCHES)
        _limit(client, LIMIT, max(GPUS, 1))
        _drop_uncalibrated_threshold(client)


def _pool(client: SyncPrefectClient, name: str, description: str, runs: int | None) -> None:
    """Make a pool whose runs are processes, so many of them at once."""
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(
                name=name,
                description=description,
                type="process",
                base_job_template=template,
                concurrency_limit=runs,
            )
        )


def _queue(client: SyncPrefectClient, pool: str, name: str) -> None:
    """Make a queue that goes before all others of its pool."""
    try:
        client.read_work_queue_by_name(name, pool)
    except ObjectNotFound:
        client.create_work_queue(name, work_pool_name=pool, priority=_FIRST)


def _limit(client: SyncPrefectClient, name: str, slots: int) -> None:
    try:
        client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        client.upsert_global_concurrency_limit_by_name(name, slots)


def _drop_uncalibrated_threshold(client: SyncPrefectClient) -> None:
    """Delete the threshold that earlier versions made, unless a person has changed it: it counts as a person's now."""
    found = client.read_variable_by_name(DRIFT_VARIABLE)
    if found is not None and found.value == 0.75 and set(found.tags) == {"drift", "uncalibrated"}:
        client.delete_variable_by_name(DRIFT_VARIABLE)
