import threading

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_API_URL, temporary_settings

from models.errors import InputError
from tasks.execution.gpu import LIMIT, ensure_limit, gpu_slot

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


@pytest.fixture(params=["embedded", "elsewhere"], autouse=True)
def server(request):
    address = None if request.param == "embedded" else PREFECT_API_URL.value()
    with temporary_settings({PREFECT_API_URL: address}):  # the test's server is the one that Prefect embeds
        yield request.param


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


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
def test_who_waits_works_next():
    order = []

    def other():
        with gpu_slot():
            order.append("other")

    thread = threading.Thread(target=other, daemon=True)
    with gpu_slot():
        thread.start()
        thread.join(timeout=1)
        order.append("first")
    thread.join(timeout=300)
    assert order == ["first", "other"]
    assert _limit().active_slots == 0


def test_a_slot_is_freed_after_an_error():
    with pytest.raises(ZeroDivisionError), gpu_slot():
        raise ZeroDivisionError
    assert _limit().active_slots == 0


def test_the_slot_of_a_killed_run_is_free_again_where_the_server_is_embedded(server):
    """A server elsewhere takes it back itself, once its lease has run out."""
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(active_slots=1))
        if server == "embedded":
            with gpu_slot():
                assert _limit().active_slots == 1
        else:
            with pytest.raises(TimeoutError), concurrency(LIMIT, occupy=1, strict=True, timeout_seconds=1):
                pass
        client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(active_slots=0))


def test_the_limit_is_made_once_and_keeps_its_slots():
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, 4)
        ensure_limit()
        assert _limit().limit == 4
        client.upsert_global_concurrency_limit_by_name(LIMIT, 1)


def test_without_the_limit_nobody_works(without_limit):
    message = r"no global concurrency limit `gpu`.*prefect gcl create gpu --limit 1"
    with pytest.raises(InputError, match=message), gpu_slot():
        pytest.fail("worked without a slot")
