"""The GPU as a shared resource: who works on it holds a slot of the global concurrency limit `gpu`."""

import contextlib
from collections.abc import Iterator

from filelock import FileLock
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from models.errors import InputError
from tasks.execution.server import is_embedded
from tasks.storage.locations import locks

LIMIT = "gpu"
LEASE_SECONDS = 60
"""A server takes the slot of a killed holder back after this time; who lives renews in time."""


@contextlib.contextmanager
def gpu_slot() -> Iterator[None]:
    """Wait for a slot, hold it, and give it back.

    Raises:
        InputError: the server has no such limit.
    """
    try:
        with _embedded_server_tidied(), concurrency(LIMIT, occupy=1, strict=True, lease_duration=LEASE_SECONDS):
            yield
    except ConcurrencySlotAcquisitionError as error:
        raise InputError(
            f"The Prefect server has no global concurrency limit `{LIMIT}`, without which two runs would share a GPU: "
            f"make it with `prefect gcl create {LIMIT} --limit 1`, one slot a GPU (`make up` does this)."
        ) from error


def ensure_limit() -> None:
    """Make the limit with one slot where the server has none; an existing one keeps its slots."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            client.upsert_global_concurrency_limit_by_name(LIMIT, 1)


@contextlib.contextmanager
def _embedded_server_tidied() -> Iterator[None]:
    """Free the slots of killed runs where the server is embedded, which runs no service that would.

    A file lock, which the operating system frees however its holder ends, tells that no other run has a slot.
    """
    if not is_embedded():
        yield
        return
    locks().mkdir(parents=True, exist_ok=True)
    with FileLock(locks() / "gpu.lock", thread_local=False):
        with get_client(sync_client=True) as client, contextlib.suppress(ObjectNotFound):
            client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(active_slots=0))
        yield
