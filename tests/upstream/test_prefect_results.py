"""What `tasks/execution/result_records.py` replaces of Prefect, and what `caching.py` takes for granted of results."""

import pytest
from prefect import flow, results
from prefect.context import get_run_context
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultRecord, ResultStore, get_result_store
from prefect.transactions import get_transaction

from tasks.execution import caching
from tasks.execution.caching import step
from tasks.execution.result_records import (
    SERIALIZER,
    deserialize,
    deserialize_from_result_and_metadata,
    serialize,
)
from tasks.records.base import RunReference

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


def test_every_result_is_written_and_read_through_functions_that_can_be_replaced():
    assert ResultRecord.serialize is results.ResultRecord[int].serialize is serialize
    assert ResultRecord.deserialize is results.ResultRecord[int].deserialize is deserialize
    assert ResultRecord.deserialize_from_result_and_metadata is deserialize_from_result_and_metadata


def test_an_empty_record_is_no_result_since_storages_cannot_delete(tmp_path):
    kept = ResultStore(result_storage=LocalFileSystem(basepath=str(tmp_path)), serializer=SERIALIZER)
    kept.write(RunReference(run_id="run"), key="step/key")
    assert kept.exists("step/key")
    kept.result_storage.write_path("step/key", content=b"")
    kept.cache.clear()
    assert not kept.exists("step/key")


@step
def look_around(name: str) -> RunReference:
    """Return the key and the task run of the step that is running."""
    return RunReference(run_id=f"{get_transaction().key} {get_run_context().task_run.id}")


def test_a_key_and_the_hook_of_its_run_see_the_same_context(monkeypatch, caplog):
    """Private to Prefect: the key is made in the thread and context in which the completion hook is called."""
    told = []
    policy = look_around.cache_policy
    compute, note = policy.compute_key, look_around.on_completion_hooks[0]

    def compute_key(task_ctx, *arguments, **named):
        key = compute(task_ctx, *arguments, **named)
        told.append(("key", key, str(task_ctx.task_run.id), caching._reason.get()))
        return key

    def hook(task, task_run, state):
        told.append(("hook", state.name, str(task_run.id), caching._reason.get()))

    @flow
    def look() -> list[RunReference]:
        found = [look_around("a"), look_around.submit("a").result()]
        store = get_result_store().update_for_task(look_around, _sync=True)  # the flow's looks elsewhere
        assert store.exists(told[0][1])
        return found

    monkeypatch.setattr(policy, "compute_key", compute_key)
    monkeypatch.setattr(look_around, "on_completion_hooks", [hook, note])
    first, again = look()
    assert first == again
    assert first.run_id == f"{told[0][1]} {told[0][2]}"
    assert [(kind, name) for kind, name, *_ in told] == [
        ("key", told[0][1]), ("hook", "Completed"), ("key", told[0][1]), ("hook", "Cached"),
    ]  # fmt: skip
    for (_, _, of, reason), (_, _, ended, seen) in (told[:2], told[2:]):
        assert of == ended == reason[0]
        assert reason == seen
    logged = [record.getMessage() for record in caplog.records if record.name == "prefect.task_runs"]
    lines = [line.split(",")[0] for line in logged if "ook 'hook'" not in line]
    assert lines == ["look-around run", "look-around hit"]  # all else that Prefect logs of a good end is left out
