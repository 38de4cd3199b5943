"""From the form to what runs the parts of a step: threads, a Dask cluster on this machine, or one elsewhere."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from prefect.client.orchestration import get_client
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from models.errors import InputError
from tasks.execution.server import is_embedded
from tasks.parameters.execution import ExecutionParameters
from tasks.storage.locations import store_uri

ANSWER_SECONDS = 10  # that a scheduler may take


def task_runner(execution: ExecutionParameters) -> TaskRunner[Any]:
    """Make the task runner that the form asks for. A local cluster starts with the first task that is sent to it.

    Args:
        execution: the form.

    Returns:
        The task runner, for `Flow.with_options`.
    """
    if execution.runner == "threads":
        return ThreadPoolTaskRunner(max_workers=execution.workers)
    from prefect_dask import DaskTaskRunner

    if execution.scheduler is not None:
        return DaskTaskRunner(address=execution.scheduler)
    return DaskTaskRunner(cluster_kwargs=local_cluster(execution))


@contextlib.contextmanager
def dask_executor(execution: ExecutionParameters) -> Iterator[Executor]:
    """Open a Dask cluster as a pool for whole flows. What still runs at an error is not waited for.

    Args:
        execution: the form.
    """
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        place = execution.scheduler or stack.enter_context(LocalCluster(**local_cluster(execution)))
        yield stack.enter_context(Client(place, set_as_default=False)).get_executor(pure=False)


def local_cluster(execution: ExecutionParameters) -> dict[str, Any]:
    """Describe the cluster on this machine, as `distributed.LocalCluster` takes it: loopback only, ports that are free.

    Its processes go to the server of this one, else each would start an embedded one of its own.
    """
    with get_client(sync_client=True) as client:
        server = str(client.api_url).rstrip("/")
    return {
        "n_workers": execution.workers,
        "threads_per_worker": 1,
        "processes": True,
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
        "env": {"PREFECT_API_URL": server},
    }


def require_workers(execution: ExecutionParameters) -> None:
    """Refuse, before anything is computed, a scheduler that cannot do the work.

    Raises:
        InputError: the form contradicts itself, nothing answers at the address, or the scheduler or its workers lack
            the project, the store or a Prefect server that they reach.
    """
    address = execution.scheduler
    if address is None:
        return
    if execution.runner != "dask":
        raise InputError(
            f"--execution.scheduler {address} is for Dask only: choose --execution.runner dask, or name no scheduler."
        )
    if is_embedded():
        raise InputError(
            f"--execution.scheduler {address}: its workers cannot reach the server that is embedded in this run; "
            "start one with `make up`, or name one with PREFECT_API_URL."
        )
    from distributed import Client

    try:
        client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except OSError as error:
        raise InputError(
            f"--execution.scheduler {address}: no Dask scheduler answers there; start it with "
            "`python -m dask scheduler`, or name none for a cluster on this machine."
        ) from error

    def worker_store() -> str:  # within a function, so that Dask sends its code rather than where to import it from
        from tasks.storage.locations import store_uri

        return store_uri()

    with client:
        who = "scheduler"  # it reads the parts, too, before it hands them out
        try:
            client.run_on_scheduler(worker_store)
            who = "worker"
            stores = client.run(worker_store)
        except ModuleNotFoundError as error:
            raise InputError(
                f"--execution.scheduler {address}: {'its workers' if who == 'worker' else 'it'} cannot import "
                f"{error.name}; start `python -m dask {who}` in the project's folder and environment."
            ) from error
    if not stores:
        raise InputError(
            f"--execution.scheduler {address} has no workers: start some with `python -m dask worker {address}`."
        )
    elsewhere = sorted({f"{worker} to {store}" for worker, store in stores.items() if store != store_uri()})
    if elsewhere:
        raise InputError(
            f"--execution.scheduler {address}: this run writes to {store_uri()}, but worker {elsewhere[0]}; start all "
            "with the same STORE_URI or OUTPUTS."
        )
