"""Files that are written under another name first, folders for a while, and what dead processes have left of both.

A name says which process writes it. What is left of one that has died is removed by whoever writes next in that place.
"""

import contextlib
import functools
import os
import platform
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from tasks.storage.process_identity import process_identity

FOLDER = "unfinished"
"""Below the root of a store or of the products: on the same disk, so that a file can be renamed."""
_NAME = re.compile(r"(?P<host>.+)-(?P<process>\d+@[0-9a-f.]+)\.[0-9a-f]{32}\.tmp(-journal)?")  # SQLite's own


def write_whole(path: Path, content: bytes, root: Path) -> None:
    """Write a file whole or not at all: under another name, synced to the disk, and renamed.

    Args:
        path: of the file.
        content: the bytes.
        root: folder above it, on the same disk.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    with made_whole(path, root) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def made_whole(path: Path, root: Path) -> Iterator[Path]:
    """Let a file be made under another name, and rename it once it is whole.

    Args:
        path: of the file.
        root: folder above it, on the same disk.

    Yields:
        Where it is made; nothing is left there if that fails.
    """
    temporary = _name(root)
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def temporary_folder(root: Path) -> Iterator[Path]:
    """Make a folder for as long as the body runs; what a killed process leaves of it goes with the next write there.

    Python's own `TemporaryDirectory` is in the folder of the system, where that would stay.

    Args:
        root: folder in which it is made.

    Yields:
        The folder, empty.

    Raises:
        OSError: it cannot be made.
    """
    folder = _name(root)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _name(root: Path) -> Path:
    _tidied(root / FOLDER, os.getpid())
    return root / FOLDER / f"{_writer(os.getpid())}.{uuid.uuid4().hex}.tmp"


@functools.lru_cache(maxsize=1)
def _writer(process_id: int) -> str:
    return f"{platform.node()}-{process_identity(process_id)}"


@functools.lru_cache(maxsize=64)
def _tidied(folder: Path, _process_id: int) -> None:
    """Remove what processes of this machine have left that are dead; once a process, which may be a fork."""
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            named = _NAME.fullmatch(file.name)
            if named is None or named["host"] != platform.node():
                continue
            if named["process"] != process_identity(int(named["process"].partition("@")[0])):
                shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
