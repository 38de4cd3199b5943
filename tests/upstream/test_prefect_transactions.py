"""Prefect's `Transaction.__var__`: without it, a task within a task keeps no result before the outer one ends."""

import contextlib

import pytest
from prefect import flow, task
from prefect.cache_policies import INPUTS

from flows.trials import _apart_from_this_step

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


@task(persist_result=True, cache_policy=INPUTS)
def inner(number: int) -> int:
    return number


@task
def outer(number: int, apart: bool) -> None:
    with _apart_from_this_step() if apart else contextlib.nullcontext():
        inner(number)
    raise ValueError("after the inner one has ended")


@pytest.mark.parametrize("apart", [True, False])
def test_what_ended_within_a_task_that_fails_is_kept_only_apart_from_it(apart):
    @flow
    def fails_then_asks() -> str:
        outer(int(apart), apart, return_state=True)
        return str(inner(int(apart), return_state=True).name)

    assert fails_then_asks() == ("Cached" if apart else "Completed")
