"""From the form to the task runner, and schedulers that cannot do the work."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner
from prefect_dask import DaskTaskRunner
from pydantic import ValidationError

from flows.support.runners import require_workers, task_runner
from models.errors import InputError
from tasks.parameters.execution import ExecutionParameters

NOBODY = "tcp://127.0.0.1:9"


@pytest.fixture
def _server():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # is not asked
        yield


def test_threads_are_as_many_as_the_form_says():
    runner = task_runner(ExecutionParameters(workers=3))
    assert isinstance(runner, ThreadPoolTaskRunner)
    assert runner._max_workers == 3


@pytest.mark.usefixtures("prefect_server")
def test_a_cluster_on_this_machine_stays_on_loopback_and_uses_the_server_of_this_process():
    runner = task_runner(ExecutionParameters(runner="dask", workers=3))
    assert isinstance(runner, DaskTaskRunner)
    assert runner.address is None
    assert runner.cluster_kwargs["n_workers"] == 3
    assert runner.cluster_kwargs["host"] == "127.0.0.1"
    assert runner.cluster_kwargs["env"] == {"PREFECT_API_URL": PREFECT_API_URL.value()}


def test_a_scheduler_is_taken_by_its_address():
    assert task_runner(ExecutionParameters(runner="dask", scheduler=NOBODY)).address == NOBODY


@pytest.mark.parametrize("address", ["10.0.0.5", "tcp://10.0.0.5", "http://10.0.0.5:8786", "tcp://a b:1"])
def test_what_is_no_address_is_refused_by_the_form(address):
    with pytest.raises(ValidationError, match="scheduler"):
        ExecutionParameters(runner="dask", scheduler=address)


def test_without_a_scheduler_nothing_is_asked():
    require_workers(ExecutionParameters(runner="dask"))


def test_a_scheduler_for_threads_is_a_contradiction():
    with pytest.raises(InputError, match="is for Dask only"):
        require_workers(ExecutionParameters(scheduler=NOBODY))


def test_workers_elsewhere_need_a_server():
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(InputError, match="PREFECT_API_URL"):
        require_workers(ExecutionParameters(runner="dask", scheduler=NOBODY))


@pytest.mark.usefixtures("_server")
def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("flows.support.runners.ANSWER_SECONDS", 0.5)
    with pytest.raises(InputError, match=f"{NOBODY}: no Dask scheduler answers there"):
        require_workers(ExecutionParameters(runner="dask", scheduler=NOBODY))


@pytest.mark.usefixtures("_server")
@pytest.mark.parametrize(("workers", "told"), [(0, "has no workers"), (1, "this run writes to .*, but worker tcp://")])
def test_workers_must_be_there_and_write_to_the_same_store(workers, told, tmp_path, monkeypatch, start_cluster):
    here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "env": {"OUTPUTS": str(tmp_path)}}
    cluster = start_cluster(n_workers=workers, threads_per_worker=1, **here)
    form = ExecutionParameters(runner="dask", scheduler=cluster.scheduler_address)
    with pytest.raises(InputError, match=told):
        require_workers(form)
    if workers:
        monkeypatch.setenv("OUTPUTS", str(tmp_path))
        require_workers(form)
