import hashlib
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tasks.storage.finished_rows import FinishedRows
from tasks.storage.store import Store

ROWS = TypeAdapter(list[str])


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def _finished(store, **identity):
    return FinishedRows(store, "words", {"version": 1, **identity}, ROWS)


def test_rows_are_kept_by_what_decides_them(store):
    _finished(store).write(["a", "b"])
    _finished(store).write(["c"])
    assert sorted(_finished(store).read()) == ["a", "b", "c"]
    assert list(_finished(store, version=2).read()) == []


def test_what_another_finished_meanwhile_is_read_once(store):
    mine, other = _finished(store), _finished(store)
    other.write(["a"])
    assert list(mine.read_new()) == ["a"]
    other.write(["b"])
    assert list(mine.read_new()) == ["b"] and list(mine.read_new()) == []
    assert sorted(mine.read()) == ["a", "b"]


def test_a_damaged_shard_counts_as_missing(store):
    finished = _finished(store)
    finished.write(["a"])
    (shard,) = Path(store.root, finished.place, "shards").iterdir()
    shard.write_bytes(shard.read_bytes()[:-3])
    assert list(finished.read()) == []
    finished.write(["a"])
    assert list(finished.read_new()) == ["a"]


@pytest.mark.parametrize("content", [b"", b"\0", b'{"a": 1}', b"[1, 2]", b"[" * 100_000])
def test_a_shard_of_other_content_under_its_own_digest_counts_as_missing(store, content, caplog):
    finished = _finished(store)
    finished.write(["a"])
    store.write(f"{finished.place}/shards/{hashlib.sha256(content).hexdigest()}.json", content)
    assert list(finished.read()) == ["a"]
    assert "is ignored, since it holds no such rows" in caplog.text


def test_nothing_leaves_no_file(store):
    _finished(store).write([])
    assert store.list(f"{_finished(store).place}/shards") == []


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": 1', b"\0\xff"])
def test_a_damaged_description_costs_no_row(store, content):
    finished = _finished(store)
    finished.write(["a"])
    described = store.read(f"{finished.place}/job.json")
    store.write(f"{finished.place}/job.json", content)
    assert list(_finished(store).read()) == ["a"]
    assert store.read(f"{finished.place}/job.json") == described
