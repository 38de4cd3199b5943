import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from tasks.storage.store import DamagedFileError, Store
from tests.conftest import CHECKOUT


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def _path(store, stored):
    return f"{store.root}/{stored.uri}"


def test_content_comes_back_under_its_digest(store):
    stored = store.put(b"content", "application/json")
    assert stored.sha256 == hashlib.sha256(b"content").hexdigest()
    assert stored.uri.endswith(f"{stored.sha256}.json")
    assert stored.size == 7
    assert store.get(stored) == b"content"
    assert store.put(b"content", "application/json") == stored


def test_damaged_and_missing_files_are_told_apart_from_intact_ones(store):
    stored = store.put(b"content", "application/json")
    assert store.intact(stored)
    with open(_path(store, stored), "ab") as file:
        file.write(b"!")
    assert not store.intact(stored)
    with pytest.raises(DamagedFileError, match="does not have the digest"):
        store.get(stored)
    os.remove(_path(store, stored))
    assert not store.intact(stored)
    with pytest.raises(DamagedFileError, match="missing"):
        store.get(stored)


def test_putting_again_repairs_a_damaged_file(store):
    stored = store.put(b"content", "application/json")
    with open(_path(store, stored), "wb") as file:
        file.write(b"other")
    store.put(b"content", "application/json")
    assert store.get(stored) == b"content"


def test_an_interrupted_write_leaves_nothing(store, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write("folder/name", b"content")
    assert store.read("folder/name") is None
    assert os.listdir(f"{store.root}/folder") == []


def test_writers_of_the_same_content_do_not_disturb_each_other(store):
    content = os.urandom(1 << 20)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(store.put(content, "image/png"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({stored.uri for stored in seen}) == 1
    assert store.get(seen[0]) == content


def test_an_object_store_keeps_the_same_contract():
    store = Store("memory://bucket/store")
    stored = store.put(b"content", "image/png")
    assert store.get(stored) == b"content"
    assert store.list(f"sha256/{stored.sha256[:2]}") == [stored.uri]
    store.write(stored.uri, b"other")
    assert not store.intact(stored)
    store.remove(stored.uri)
    assert store.read(stored.uri) is None


def test_arrays_come_back_and_their_bytes_repeat(store):
    arrays = {"b": np.arange(6).reshape(2, 3), "a": np.array([0.5], dtype=np.float32)}
    stored = store.put_arrays(arrays)
    again = store.put_arrays(dict(reversed(arrays.items())))
    assert stored == again
    found = store.get_arrays(stored)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_arrays_of_objects_are_refused(store):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        store.put_arrays({"a": np.array([{}], dtype=object)})


FULL = """
import resource, sys
from tasks.storage.store import Store
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    Store(sys.argv[1]).put(bytes(1_000_000), "application/octet-stream")
except ValueError as error:
    print(type(error).__name__, error)
"""


def test_a_disk_that_takes_no_more_is_one_sentence_and_leaves_nothing_behind(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path / "store")]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"DiskError The store at {tmp_path / 'store'} takes no more (File too large): make")
    assert len(done.stdout.splitlines()) == 1
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def unreadable(path):
    """Make a file unreadable for the time of a `with`, also for root."""

    @contextlib.contextmanager
    def closed():
        mode = path.stat().st_mode
        path.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
            path.chmod(mode)

    return closed()


def test_a_file_that_cannot_be_read_now_is_not_called_damaged():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = Store(folder)
        stored = store.put(b"content", "application/json")
        path = Path(_path(store, stored))
        with unreadable(path), pytest.raises(PermissionError):
            store.intact(stored)
        assert store.intact(stored)


def test_putting_content_whose_file_cannot_be_read_writes_it_again(store, monkeypatch):
    stored = store.put(b"content", "application/json")
    monkeypatch.setattr(store.filesystem, "cat_file", lambda path: (_ for _ in ()).throw(OSError(5, "failing disk")))
    assert store.put(b"content", "application/json") == stored
    monkeypatch.undo()
    assert store.get(stored) == b"content"


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "../secret.json"},
        {"uri": "sha256/\0"},
        {"sha256": "a" * 64},
        {"sha256": "../x"},
    ],
)
def test_a_record_that_names_another_file_or_none_of_the_store_is_damaged(store, change):
    stored = store.put(b"content", "application/json").model_copy(update=change)
    assert not store.intact(stored)


def test_notes_are_read_by_their_type_or_ignored(store, caplog):
    store.write("notes/a.json", b'{"a": 1}')
    assert store.read_note("notes/a.json", dict[str, int]) == {"a": 1}
    assert store.read_note("notes/absent.json", dict[str, int]) is None
    assert not caplog.text
    for content in (b"{", b"5", b'{"a": "x"}', b"[" * 100_000, b"\xff", b""):
        store.write("notes/a.json", content)
        assert store.read_note("notes/a.json", dict[str, int]) is None
    assert caplog.text.count("notes/a.json in the store is ignored") == 6


def test_content_that_is_no_json_is_damaged(store):
    for content in (b"", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(DamagedFileError, match="holds no JSON"):
            store.get_json(store.put(content, "application/json"))
    assert store.get_json(store.put_json(["x" * 2**25])) == ["x" * 2**25]  # what is kept has no bound of its own


def test_content_that_is_no_archive_of_arrays_is_damaged(store):
    for content in (b"", b"hello", b"PK\x03\x04", b"\x93NUMPY"):
        with pytest.raises(DamagedFileError, match="holds no arrays"):
            store.get_arrays(store.put(content, "application/x-npz"))
