"""Disks that take no more: full, out of quota, read-only, closed to this user, or gone.

This module imports neither Prefect nor MLflow, as `tasks.storage.locations`.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec

from models.errors import NO_ROOM, DiskError, InputError
from models.text import printable, reason
from tasks.storage.locations import outputs, store_uri, tracking_uri
from tasks.storage.store import MissingFileError

LEAST_FREE_MB = 100
"""What a short run needs; with less, databases fail in ways that nobody understands."""
_TRIED_BYTES = 1 << 22  # what a database adds to its files at once is less
_GONE = {errno.EIO, errno.ENODEV, errno.ENOENT, errno.ENOTCONN, errno.ENOTDIR, errno.ENXIO, errno.ESTALE}
_UNWRITABLE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR}


def require_room() -> None:
    """Refuse, before anything is started, a disk that takes no more, or hardly.

    Raises:
        DiskError: there is less room than a short run needs, or a place that a run writes to cannot be written.
    """
    free = shutil.disk_usage(_existing(outputs())).free // 10**6
    if free < LEAST_FREE_MB:
        raise DiskError(
            f"The disk under {printable(outputs())} has {free} MB left, and a run needs {LEAST_FREE_MB} at the very "
            "least: make room (see Clean up in docs/operations.md), or name another folder with OUTPUTS=dir."
        )
    refused = _refusal()
    if refused is not None:
        raise refused


def disk_error(error: BaseException) -> DiskError | None:
    """Say in one sentence which disk an error came from, where it came from one.

    A library words a full disk in its own way, and a server answers no more than that something went wrong. So the
    disks themselves are tried; what an error says counts where they take something again.

    Args:
        error: of any library.

    Returns:
        The sentence, or None where no disk is to blame.
    """
    if isinstance(error, InputError):
        return None
    return _refusal() or next((said for each in _causes(error) if (said := _said(each)) is not None), None)


def _refusal() -> DiskError | None:
    """Try the places that a run writes to; tell of the first that cannot be written."""
    for place, setting in _places():
        try:
            _try(place)
        except OSError as error:
            return _sentence(printable(place), error.strerror or str(error), setting)
    return _try_store() if "://" in store_uri() else None


def _try_store() -> DiskError | None:
    """Write an empty file to a store that is no folder of this machine, and remove it."""
    try:
        filesystem, root = fsspec.core.url_to_fs(store_uri())
        probe = f"{root.rstrip('/')}/probe.tmp"
        filesystem.pipe_file(probe, b"")
        with contextlib.suppress(FileNotFoundError):  # another run has removed it
            filesystem.rm_file(probe)
    except Exception as error:  # each file system has its own
        return DiskError(
            f"The store at {printable(store_uri())} cannot be written ({reason(error)}): see that it answers "
            "and that its credentials are valid, or name another with STORE_URI; then run again: what was finished is "
            "kept."
        )
    return None


def _places() -> Iterator[tuple[Path, str]]:
    """Return the files and folders on this machine that a run writes to, and what names others in their place."""
    yield outputs(), "OUTPUTS=dir"
    database = _tracking_database()
    if database is not None:
        yield database, "MLFLOW_TRACKING_URI"
    yield Path(os.environ.get("PREFECT_HOME") or outputs() / "prefect") / "prefect.db", "PREFECT_HOME"
    if "://" not in store_uri():
        yield Path(store_uri()), "STORE_URI"
    try:
        yield Path(tempfile.gettempdir()), "TMPDIR=dir"
    except FileNotFoundError:  # which has tried this one too
        yield Path("/tmp"), "TMPDIR=dir"


def _try(place: Path) -> None:
    """Write some bytes beside a file, or into a folder, and leave none.

    Raises:
        OSError: the file or the folder cannot be written.
    """
    if place.is_file():
        with place.open("r+b"):
            place = place.parent
    with tempfile.TemporaryFile(dir=_existing(place)) as file:
        file.write(bytes(_TRIED_BYTES))
        file.flush()
        os.fsync(file.fileno())  # some file systems look for room no sooner


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _tracking_database() -> Path | None:
    """Return the file of MLflow's database, where this process writes to one."""
    kind, _, path = tracking_uri().partition(":///")
    return Path(path.partition("?")[0]) if kind.startswith("sqlite") and path else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Return an error and those that led to it."""
    pending, seen = [error], set[int]()
    while pending:
        each = pending.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            pending += [cause for cause in (each.__context__, each.__cause__) if cause is not None]


def _said(error: BaseException) -> DiskError | None:
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNWRITABLE:
        database = _tracking_database()
        named = "A database" if database is None else f"The database {printable(database)}"
        return _sentence(named, str(error), "MLFLOW_TRACKING_URI")
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        named = printable(error.filename) if error.filename else "A disk that the run writes to"
        return _sentence(named, os.strerror(error.errno), "OUTPUTS=dir or TMPDIR=dir")
    if isinstance(error, OSError) and error.errno in _GONE and _is_in_store(error.filename):
        return _gone(f"{printable(error.filename)} cannot be used ({os.strerror(error.errno)})")
    return _gone(str(error).rstrip(".")) if isinstance(error, MissingFileError) else None


def _is_in_store(name: object) -> bool:
    local = "://" not in store_uri()
    return local and isinstance(name, str) and Path(name).is_relative_to(Path(store_uri()).absolute())


def _gone(what: str) -> DiskError:
    return DiskError(f"{what}: bring the disk or share of the store back and run again; what was finished is kept.")


def _sentence(place: str, reason: str, setting: str) -> DiskError:
    return DiskError(
        f"{place} cannot be written ({reason}): make room there, or give write access, or name another place with "
        f"{setting}; then run again: what was finished is kept."
    )
