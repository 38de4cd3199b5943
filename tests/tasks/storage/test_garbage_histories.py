"""Garbage collection in drawn histories of real runs: what a later run of the last days asks for is a hit."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prefect import flow
from prefect.context import get_run_context
from pydantic import TypeAdapter

from tasks.execution.caching import last_uses, outcomes, step
from tasks.records.base import Record, StoredFile
from tasks.storage.finished_rows import FinishedRows
from tasks.storage.garbage import DAY, find_leftovers, remove
from tasks.storage.store import Store
from tests.conftest import isolated_outputs

pytestmark = pytest.mark.usefixtures("prefect_server")
HISTORIES = int(os.environ.get("GARBAGE_HISTORIES", "1"))
"""How many are drawn; the same ones each time, unless more are asked for."""
DAYS = 30.0
ROWS = TypeAdapter(list[int])


class Made(Record):
    """A stored file.

    Attributes:
        file: where it lies.
    """

    file: StoredFile


@step
def make_weights(seed: int) -> Made:
    """Store content that two seeds share."""
    return Made(file=Store().put(b"weights %d" % (seed // 2), "application/x-safetensors"))


@step
def make_index(weights: Made, k: int) -> Made:
    """Store content that names other content, as an index names its shards."""
    store = Store()
    shards = [store.put(store.get(weights.file) + b" shard %d" % part, "application/x-npz") for part in range(k)]
    return Made(file=store.put_json([shard.model_dump() for shard in shards]))


@step
def write_page(index: Made, title: str) -> Made:
    """Read all that lies below."""
    store = Store()
    shards = [StoredFile.model_validate(shard) for shard in store.get_json(index.file)]
    return Made(file=store.put(title.encode() + b"".join(store.get(shard) for shard in shards), "text/html"))


@flow
def history(seed: int, k: int, title: str) -> tuple[str, Made, Made]:
    index = make_index(make_weights(seed), k)
    return str(get_run_context().flow_run.id), index, write_page(index, title)


CONFIGURATIONS = st.tuples(st.integers(0, 3), st.integers(1, 2), st.sampled_from("ab"))
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), CONFIGURATIONS),
        st.tuples(st.just("publish"), CONFIGURATIONS),
        st.tuples(st.just("write rows"), st.integers(0, 1)),
        st.tuples(st.just("wait"), st.sampled_from([1, 8, 20, 31])),
        st.tuples(st.just("collect"), st.none()),
    ),
    min_size=6,
    max_size=12,
)


class World:
    """Products whose files get the ages of a drawn history."""

    def __init__(self, outputs: Path) -> None:
        self.outputs, self.now = outputs, 1_000_000_000.0  # long ago: what has just been written is told by its time
        self.used: dict[tuple[int, int, str], float] = {}
        self.made: dict[tuple[int, int, str], Made] = {}
        self.published: dict[str, StoredFile] = {}
        self.rows: dict[int, tuple[float, int]] = {}

    def run(self, configuration):
        """Run the flow; what it should find is found, and what it makes is what was made before."""
        begun = time.time()
        flow_run_id, index, page = history(*configuration)
        ended = outcomes([flow_run_id])
        if self.now - self.used.get(configuration, 0) <= DAYS * DAY:
            assert [(outcome.step, outcome.why) for outcome in ended if not outcome.hit] == []
        assert self.made.setdefault(configuration, page) == page
        assert Store().intact(page.file) and Store().intact(index.file)
        self.used[configuration] = self.now
        self._age(begun)
        return index

    def publish(self, configuration):
        """Do what a flow does that people's searches go by."""
        index = self.run(configuration)
        begun = time.time()
        name = f"retrieval/{configuration[0]}.json"
        Store().write(name, json.dumps({"index": index.file.model_dump()}).encode())
        self.published[name] = index.file
        self._age(begun)

    def write_rows(self, job):
        """Finish a shard of a job that goes on."""
        begun = time.time()
        rows = FinishedRows(Store(), "jobs", {"job": job}, ROWS)
        last, count = self.rows.get(job, (0.0, 0))
        if self.now - last <= DAYS * DAY:
            assert sorted(rows.read()) == list(range(count))
        else:
            count = len(list(rows.read()))
        rows.write([count])
        self.rows[job] = (self.now, count + 1)
        self._age(begun)

    def collect(self):
        """Remove what nothing needs, and see that what people go by is whole."""
        results = self.outputs / "results"
        remove(find_leftovers(self.outputs / "store", results, last_uses(), DAYS, self.now))
        store = Store()
        for name, index in self.published.items():
            assert store.read(name) is not None
            assert all(store.intact(StoredFile.model_validate(shard)) for shard in store.get_json(index))
        left = find_leftovers(self.outputs / "store", results, last_uses(), DAYS, self.now)
        assert left == []

    def _age(self, begun):
        """Give what was written since some moment the time of this history, in the ledger too."""
        for path in self.outputs.rglob("*"):
            if path.is_file() and path.suffix != ".lock" and path.stat().st_mtime >= begun - 1:
                if "ledger" in path.parts:
                    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": self.now, "seconds": 0.0}))
                os.utime(path, (self.now,) * 2)


A, B = (0, 1, "a"), (1, 2, "b")


@example(  # what one configuration shares with another outlives it
    [("run", A), ("wait", 20), ("run", B), ("wait", 20), ("collect", None), ("run", B), ("run", A), ("collect", None)]
)
@example(  # a hit keeps its result, and an index what it names
    [
        ("publish", A), ("run", B), ("wait", 20), ("run", B), ("wait", 20), ("collect", None), ("run", B), ("wait", 31),
        ("collect", None), ("run", A),
    ]
)  # fmt: skip
@example(  # rows of a job that goes on, and of one that does not
    [
        ("write rows", 0), ("write rows", 1), ("wait", 20), ("write rows", 0), ("wait", 20), ("collect", None),
        ("write rows", 0), ("write rows", 1),
    ]
)  # fmt: skip
@given(EVENTS)
@settings(
    max_examples=HISTORIES,
    deadline=None,
    derandomize="GARBAGE_HISTORIES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_what_a_later_run_asks_for_is_never_removed(tmp_path_factory, events):
    with isolated_outputs(tmp_path_factory.mktemp("history") / "outputs") as outputs:
        world = World(outputs)
        for event, argument in events:
            if event == "run":
                world.run(argument)
            elif event == "publish":
                world.publish(argument)
            elif event == "write rows":
                world.write_rows(argument)
            elif event == "wait":
                world.now += argument * DAY
            else:
                world.collect()
