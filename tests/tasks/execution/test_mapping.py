"""Steps that run at the same time, on a real Prefect server."""

import threading

import pytest
from prefect import flow
from prefect.context import get_run_context

from models.errors import InputError
from tasks.execution.caching import outcomes, step
from tasks.execution.mapping import steps_at_once
from tasks.records.base import DocumentRecord
from tasks.storage.store import Store

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")
_both = threading.Barrier(2)


def _text(text):
    return DocumentRecord(document=Store().put(text.encode(), "text/markdown"))


@step
def meet(name: str) -> DocumentRecord:
    """Wait for another step that waits."""
    _both.wait(timeout=300)
    return _text(name)


@step
def join(parts: list[DocumentRecord], last: DocumentRecord) -> DocumentRecord:
    """Join texts."""
    return _text(" ".join(Store().get(part.document).decode() for part in [*parts, last]))


@step
def refuse(reason: str) -> DocumentRecord:
    """Refuse."""
    raise InputError(reason)


@flow
def together() -> tuple[str, str]:
    with steps_at_once() as start:
        first, second = start(meet, "first"), start(meet, name="second")
        joined = start(join, [second, first], first).result()
    return str(get_run_context().flow_run.id), Store().get(joined.document).decode()


@flow
def refused() -> None:
    with steps_at_once() as start:
        first = start(refuse, "first: expected another.")
        joined = start(join, [first], start(refuse, "second: expected another."))
        first.result()
        joined.result()


def test_steps_meet_wait_for_what_they_take_and_are_hits_the_second_time():
    flow_run_id, text = together()
    assert text == "second first first"
    assert [outcome.hit for outcome in outcomes([flow_run_id])] == [False] * 3
    flow_run_id, text = together()
    assert text == "second first first"
    assert [outcome.hit for outcome in outcomes([flow_run_id])] == [True] * 3


def test_the_error_of_a_step_ends_the_flow_with_its_sentence():
    state = refused(return_state=True)
    assert state.is_failed()
    assert str(state.result(raise_on_failure=False)) == "first: expected another."
