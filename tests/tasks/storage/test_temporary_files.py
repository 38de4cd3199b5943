import contextlib
import os
import platform
import signal
import subprocess
import sys

import pytest

from tasks.storage import temporary_files
from tasks.storage.process_identity import process_identity
from tasks.storage.store import Store
from tasks.storage.temporary_files import FOLDER, temporary_folder, write_whole

ENDING = f".{'0' * 32}.tmp"


@pytest.fixture
def dead():
    """The identity of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = process_identity(process.pid)
    process.communicate()
    return identity


@pytest.fixture(autouse=True)
def _first_write_of_the_process():
    temporary_files._tidied.cache_clear()


def test_what_dead_processes_left_goes_with_the_next_write_and_what_others_write_stays(tmp_path, dead):
    folder = tmp_path / FOLDER
    folder.mkdir()
    here, alive = platform.node(), process_identity(os.getppid())
    left = [f"{here}-{dead}{ENDING}", f"{here}-{dead}{ENDING}-journal"]  # SQLite's, beside a database
    stay = {f"{here}-{alive}{ENDING}", f"elsewhere-{dead}{ENDING}", "notes.txt", f"{here}-x@1{ENDING}"}
    for name in (*left, *stay):
        (folder / name).write_text("half a fi")
    (folder / f"{here}-{dead}.{'1' * 32}.tmp" / "figures").mkdir(parents=True)
    (folder / f"{here}-{dead}.{'1' * 32}.tmp" / "figures" / "roc.png").write_text("half a fi")
    write_whole(tmp_path / "a" / "file", b"content", tmp_path)
    assert {file.name for file in folder.iterdir()} == stay
    assert (tmp_path / "a" / "file").read_bytes() == b"content"


def test_a_file_of_the_store_appears_whole_and_under_no_other_name(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    seen = []
    monkeypatch.setattr(
        temporary_files.os, "fsync", lambda _: seen.extend(file.parent.name for file in tmp_path.rglob("*.tmp"))
    )
    store.write("ledger/run/step.json", b"{}")
    assert seen == [FOLDER]
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["step.json"]


def test_a_write_that_is_interrupted_leaves_what_was_there(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    write_whole(tmp_path / "file", b"before", tmp_path)
    monkeypatch.setattr(temporary_files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", b"after", tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / "file"]
    assert (tmp_path / "file").read_bytes() == b"before"


def test_a_temporary_folder_is_gone_after_its_use_also_where_that_failed(tmp_path):
    for failure in (None, OSError):
        with contextlib.suppress(OSError), temporary_folder(tmp_path) as folder:
            (folder / "figures").mkdir()
            (folder / "figures" / "roc.png").write_bytes(b"content")
            assert folder.parent == tmp_path / FOLDER
            if failure:
                raise failure
        assert not list((tmp_path / FOLDER).iterdir())


def test_the_folder_of_a_process_that_was_killed_goes_with_the_next_one(tmp_path):
    script = """
import os, signal, sys
from pathlib import Path
from tasks.storage.temporary_files import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "roc.png").write_bytes(b"half a fi")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = (tmp_path / FOLDER).glob("*/roc.png")
    with temporary_folder(tmp_path) as folder:
        assert list((tmp_path / FOLDER).iterdir()) == [folder]
    assert not left.parent.exists()
