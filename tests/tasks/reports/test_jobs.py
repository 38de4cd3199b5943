import json
from pathlib import Path

import numpy as np
import pytest

from models.report_generation.generator import Written
from tasks.reports.jobs import Job, done_rows, write_rows
from tasks.storage.store import Store
from tests.tasks.reports.pair_generator import PairGenerator, row

IMAGES = np.full((1, 2, 2), 7, np.uint8)
IDENTITY = {"model": "a", "revision": "1"}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def _folder(store: Store, job: Job) -> Path:
    return Path(store.root) / "jobs" / job.fingerprint[:16]


def _run(store, generator, rows):
    job = Job(store, IDENTITY)
    kept = done_rows(job, rows)
    done = list(kept)
    for batch in write_rows(job, generator, rows, IMAGES, kept):
        done += batch
    return job, done


def test_every_row_comes_out_once(store):
    rows = [row(name) for name in "abcde"]
    _, done = _run(store, PairGenerator(), [*rows, rows[0]])
    assert sorted(written.row_id for written in done) == list("abcde")
    assert all(written.text.endswith("I see 7.000.") for written in done)


def test_what_is_kept_is_not_written_again(store):
    first, second = PairGenerator(), PairGenerator()
    _, before = _run(store, first, [row(name) for name in "abc"])
    _, after = _run(store, second, [row(name) for name in "abcd"])
    assert first.written == list("abc")
    assert second.written == ["d"]
    assert [written for written in after if written.row_id != "d"] == before


def test_an_interrupted_run_loses_the_batch_it_was_in_and_nothing_else(store):
    class Interrupted(PairGenerator):
        def write(self, rows, images, done):
            for number, batch in enumerate(super().write(rows, images, done)):
                if number == 2:
                    raise KeyboardInterrupt
                yield batch

    rows = [row(name) for name in "abcdefg"]
    with pytest.raises(KeyboardInterrupt):
        _run(store, Interrupted(), rows)
    resumed = PairGenerator()
    _, done = _run(store, resumed, rows)
    assert resumed.written == list("efg")
    assert sorted(written.row_id for written in done) == list("abcdefg")


def test_a_batch_is_kept_before_the_next_begins(store):
    job = Job(store, IDENTITY)
    batches = write_rows(job, PairGenerator(), [row(name) for name in "abcd"], IMAGES)
    next(batches)
    assert set(job.done()) == {"a", "b"}


def test_a_generator_is_told_of_all_rows_and_of_the_batches_of_those_that_are_done(store):
    told = []

    class Noting(PairGenerator):
        def write(self, rows, images, done):
            told.append(([row.id for row in rows], dict(done)))
            for batch in super().write(rows, images, done):
                yield [one.model_copy(update={"batch_limit": 2}) for one in batch]

    rows = [row("a", 0), row("b", 1), row("c", 2)]
    job = Job(store, IDENTITY)
    batches = write_rows(job, Noting(poison=(1,)), rows, IMAGES)
    next(batches)
    batches.close()
    _run(store, Noting(poison=(1,)), rows)
    assert told == [(list("abc"), {}), (list("abc"), {"a": 2, "b": 2})]  # failed as b is


def test_failed_rows_are_quarantined_with_their_error_and_tried_again_once_their_file_is_gone(store):
    rows = [row("a", 0), row("b", 1), row("c", 2)]
    job, done = _run(store, PairGenerator(poison=(1,)), rows)
    (failed,) = [written for written in done if written.error]
    assert failed == Written(row_id="b", error="ValueError: poison")
    stored = job.quarantine("b")
    assert json.loads(store.get(stored))["error"] == "ValueError: poison"
    idle = PairGenerator()
    _run(store, idle, rows)
    assert idle.written == []
    store.remove(stored.uri)
    _, healed = _run(store, idle, rows)
    assert idle.written == ["b"]
    assert not any(written.error for written in healed)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"row_id": 5}', b"[" * 100_000])
def test_a_failed_row_whose_file_is_damaged_is_tried_again(store, content):
    rows = [row("a", 0), row("b", 1), row("c", 2)]
    job, _ = _run(store, PairGenerator(poison=(1,)), rows)
    store.write(job.quarantine("b").uri, content)
    _, healed = _run(store, PairGenerator(), rows)
    assert not any(written.error for written in healed)
    assert len(healed) == 3


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-3])])
def test_a_damaged_shard_is_written_again(store, damage):
    rows = [row(name) for name in "abcd"]
    job, _ = _run(store, PairGenerator(), rows)
    shard = sorted((_folder(store, job) / "shards").iterdir())[0]
    lost = {entry["row_id"] for entry in json.loads(shard.read_text())}
    damage(shard)
    generator = PairGenerator()
    _, done = _run(store, generator, rows)
    assert set(generator.written) == lost
    assert len(done) == 4


def test_a_folder_belongs_to_one_job(store):
    job = Job(store, IDENTITY)
    assert Job(store, IDENTITY | {"revision": "2"}).fingerprint != job.fingerprint


@pytest.mark.parametrize("content", ["", "{", '{"row_id": 3}', '{"row_id": "a", "error": "that of another row"}'])
def test_a_damaged_note_of_a_failed_row_has_it_tried_again(store, content):
    rows = [row("a", 0), row("b", 1)]
    job, _ = _run(store, PairGenerator(poison=(1,)), rows)
    store.write(job.quarantine("b").uri, content.encode())
    generator = PairGenerator()
    _, done = _run(store, generator, rows)
    assert generator.written == ["b"]
    assert [written.error for written in done] == [None, None]


def test_other_jobs_rows_are_not_taken(store):
    _run(store, PairGenerator(), [row("a")])
    assert Job(store, IDENTITY | {"revision": "2"}).done() == {}


@pytest.mark.parametrize(
    ("came", "told"),
    [
        ([["a"], ["a"]], "twice or unasked"),
        ([["x"]], "twice or unasked"),
        ([["a"]], "1 of 2 rows came out neither written nor failed"),
    ],
)
def test_a_generator_that_loses_or_invents_rows_is_caught(store, came, told):
    class Careless(PairGenerator):
        def write(self, rows, images, done):
            for batch in came:
                yield [Written(row_id=name, text="t") for name in batch]

    with pytest.raises(RuntimeError, match=told):
        list(write_rows(Job(store, IDENTITY), Careless(), [row("a"), row("b")], IMAGES))
