"""The GPU as a shared resource: who works on it holds a slot of the global concurrency limit `gpu`."""

import contextlib
from collections.abc import Iterator

from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from models.errors import InputError

LIMIT = "gpu"


@contextlib.contextmanager
def gpu_slot() -> Iterator[None]:
    """Wait for a slot, hold it, and give it back.

    The server frees the slot of a killed holder once its lease runs out, after five minutes at most.

    Raises:
        InputError: the server has no such limit.
    """
    try:
        with concurrency(LIMIT, occupy=1, strict=True):
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
