import pytest
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency

from models.errors import InputError
from tasks.gpu import LIMIT, ensure_limit, gpu_slot

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def without_limit():
    with get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name(LIMIT)
    yield
    ensure_limit()


def _limit():
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(LIMIT)


def test_one_works_while_the_others_wait():
    with gpu_slot():
        assert _limit().active_slots == 1
        with pytest.raises(TimeoutError), concurrency(LIMIT, occupy=1, strict=True, timeout_seconds=1):
            pass
    assert _limit().active_slots == 0
    with gpu_slot():
        pass


def test_a_slot_is_freed_after_an_error():
    with pytest.raises(ZeroDivisionError), gpu_slot():
        raise ZeroDivisionError
    assert _limit().active_slots == 0


def test_the_limit_is_made_once_and_keeps_its_slots():
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, 4)
        ensure_limit()
        assert _limit().limit == 4
        client.upsert_global_concurrency_limit_by_name(LIMIT, 1)


def test_without_the_limit_nobody_works(without_limit):
    with (
        pytest.raises(InputError, match=r"no global concurrency limit `gpu`.*prefect gcl create gpu --limit 1"),
        gpu_slot(),
    ):
        pytest.fail("worked without a slot")
