"""Work in parts: the overhead of a mapped task, and what a second process of a Dask cluster brings.

Prefect's server runs beside, as it does in a real run. The processes are started beforehand: this takes seconds.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from distributed import Client, LocalCluster
from prefect import flow
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_RESULTS_LOCAL_STORAGE_PATH,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness

from flows.support.runners import local_cluster, task_runner
from tasks.execution.caching import step
from tasks.execution.mapping import map_step
from tasks.parameters.execution import ExecutionParameters
from tasks.records.base import Record
from tasks.storage import locations
from tests.benchmarks.comparison import Comparison

TRIVIAL = 40  # parts that do nothing
PARTS, SECONDS = 6, 2.0  # parts that work, each so long on one core
REPEATS = 3


class PartRecord(Record):
    """What a part of the benchmark gives back.

    Attributes:
        value: a number that depends on the work.
    """

    value: float


@step
def calculate(part: int, sums: int, run: int) -> PartRecord:
    """Keep one core busy with a Python loop, which holds the interpreter's lock as much of a step's own code does."""
    value = float(part + run)
    for _ in range(sums):
        value = value * 0.999 + 1.0
    return PartRecord(value=value)


def measure() -> list[Comparison]:
    """Run the parts in turn on two threads, on one process and on two."""
    with _room(), _cluster(1) as one, _cluster(2) as two:
        threads = ExecutionParameters(runner="threads", workers=2)
        runners = {"2 threads": threads, "1 Dask process": one, "2 Dask processes": two}
        sums = _sums_in(SECONDS)
        overhead, seconds = _medians(runners, TRIVIAL, 0), _medians(runners, PARTS, sums)
    both = "2 Dask processes"
    return [
        *(
            Comparison(f"{PARTS} parts of {SECONDS:g} s of Python, {both}", seconds[both], seconds[name], name, goal)
            for name, goal in (("1 Dask process", 1.7), ("2 threads", 1.5))
        ),
        Comparison(
            f"a mapped part that does nothing, {both}",
            overhead[both] / TRIVIAL,
            overhead["2 threads"] / TRIVIAL,
            "2 threads",
            goal_ratio=0.1,
            goal_seconds=0.2,
        ),
    ]


def _medians(runners: Mapping[str, ExecutionParameters], parts: int, sums: int) -> dict[str, float]:
    """Take the median seconds of some parts on each runner, turn by turn, so that all meet the same machine."""
    turns = [{name: _timed(execution, parts, sums) for name, execution in runners.items()} for _ in range(REPEATS)]
    return {name: median(turn[name] for turn in turns) for name in runners}


@contextmanager
def _room() -> Iterator[None]:
    """Start a server, and give the products a folder that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        prefect_test_harness(server_startup_timeout=180),
        temporary_settings(
            {
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                PREFECT_RESULTS_LOCAL_STORAGE_PATH: Path(folder, "results"),
            }
        ),
    ):
        patch.setenv("OUTPUTS", folder)
        patch.setenv("PREFECT_LOGGING_LEVEL", "WARNING")  # of the clusters' processes, a line a part
        for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.task_runner"):
            logging.getLogger(name).setLevel(logging.WARNING)
        patch.delenv("STORE_URI", raising=False)
        yield


@contextmanager
def _cluster(workers: int) -> Iterator[ExecutionParameters]:
    """Start the processes beforehand, so that their start is not measured."""
    with LocalCluster(**local_cluster(ExecutionParameters(runner="dask", workers=workers))) as cluster:
        execution = ExecutionParameters(runner="dask", workers=workers, scheduler=cluster.scheduler_address)
        with Client(cluster, set_as_default=False) as client:
            client.wait_for_workers(workers)
        _timed(execution, 2 * workers, 0)  # imports
        yield execution


def _timed(execution: ExecutionParameters, parts: int, sums: int) -> float:
    """Take the seconds of mapping, with the way there and back, but without starting the flow."""
    run = int(np.random.default_rng().integers(2**31))  # nothing is kept from run to run
    shutil.rmtree(locations.outputs() / "store" / "keys", ignore_errors=True)  # which a step reads to say what changed

    @flow(task_runner=task_runner(execution))
    def mapped() -> float:
        map_step(calculate, [{"part": -1, "sums": 0, "run": run}])  # connects
        started = time.perf_counter()
        map_step(calculate, [{"part": part, "sums": sums, "run": run} for part in range(parts)])
        return time.perf_counter() - started

    return mapped()


def _sums_in(seconds: float) -> int:
    """Count the turns of the loop in some seconds on a core that has nothing else to do."""
    turns = 1_000_000
    started = time.process_time()
    calculate.fn(0, turns, 0)
    return int(turns * seconds / (time.process_time() - started))
