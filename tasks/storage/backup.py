"""Backups of the folder of products: a zip archive with a manifest of digests, made while runs and services work.

A file that names others is read before them: databases first, then the results of steps, last the content of the store.
Whatever is named was written earlier and is still there, so that a copy taken in the middle of a run is whole. SQLite's
databases are copied by its online backup, which sees finished transactions only.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import struct
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import NO_ROOM, DiskError, InputError
from models.text import printable, reason
from tasks.storage.temporary_files import FOLDER as UNFINISHED

MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 30
_CHUNK = 1 << 20
_IN_MEMORY = 1 << 26
_SQLITE = b"SQLite format 3\0"
# Of processes that run, or made again.
_PASSING = ("locks/", "cache/", "home/", "prefect/pages/", f"{UNFINISHED}/", "services.json")
_PASSING_SUFFIXES = (".tmp", "-wal", "-shm", "-journal")
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError,
    OverflowError,
)  # fmt: skip


class Entry(BaseModel):
    """A file of a backup.

    Attributes:
        sha256: digest of its content.
        size: bytes.
        modified: Unix time at which it was written; garbage goes by it.
    """

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    modified: float = Field(ge=0)


class Manifest(BaseModel):
    """What a backup holds, by names below the folder of products.

    Attributes:
        format: of the archive.
        made: when it was begun.
        files: all files.
        dumps: dumps of databases that lie on a server, by the names of these databases.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    made: datetime
    files: dict[str, Entry]
    dumps: dict[str, Entry] = {}


def write(archive: Path, folder: Path, dumps: Mapping[str, Path]) -> Manifest:
    """Write a backup, whole or not at all.

    Args:
        archive: the file that is made; it must not exist.
        folder: the folder of products.
        dumps: files with the content of databases that lie on a server, by names of these databases.

    Returns:
        What the backup holds.

    Raises:
        InputError: there is such a file, or nothing to keep, or a file cannot be read or written, or a database is
            damaged.
    """
    if archive.exists():
        raise InputError(f"{printable(archive)} is there already: name another file with BACKUP=FILE.")
    if archive.resolve().is_relative_to(folder):
        raise InputError(f"{printable(archive)} lies within {printable(folder)}: name a file elsewhere, BACKUP=FILE.")
    manifest = Manifest(made=datetime.now(UTC), files={})
    nothing = f"There is nothing to keep in {printable(folder)}: name the folder with OUTPUTS=dir."
    if not folder.is_dir():
        raise InputError(nothing)
    partial = archive.with_name(f"{archive.name}.{uuid.uuid4().hex}.tmp")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(partial, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
            for name, path in sorted(_files(folder), key=_turn):
                with contextlib.suppress(FileNotFoundError):  # a run has removed it
                    manifest.files[name] = _add(target, f"outputs/{name}", path)
            for name, path in dumps.items():
                manifest.dumps[name] = _add(target, f"databases/{name}", path)
            if not manifest.files:
                raise InputError(nothing)
            target.writestr(MANIFEST, manifest.model_dump_json(indent=1))
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, archive)  # noqa: PTH105
    except UnicodeEncodeError as error:
        raise InputError(
            f"{printable(error.object)} in {printable(folder)} has a name that is no text: rename or remove the file."
        ) from error
    except OSError as error:
        raise _refused(error, archive) from error
    finally:
        partial.unlink(missing_ok=True)
    return manifest


@contextlib.contextmanager
def unpacked(archive: Path, folder: Path) -> Iterator[tuple[Manifest, dict[str, Path]]]:
    """Unpack a backup beside a folder, verified, and make it that folder where the body of the `with` ends well.

    Args:
        archive: what `write` made.
        folder: where the products are to lie; it must be empty or missing.

    Yields:
        What the backup holds; the dumps of databases, by name, for as long as the body runs.

    Raises:
        InputError: the folder holds something, the backup is damaged, or the disk takes no more. The folder is as it
            was.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{printable(folder)} is not empty, and nothing is overwritten: move it away, or name another folder with "
            "OUTPUTS=dir."
        )
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _opened(archive) as source:
            manifest = _manifest(source, archive)
            _require_room(manifest, folder)
            for name, entry in manifest.files.items():
                _extract(source, archive, f"outputs/{name}", entry, beside / "outputs" / name)
            dumps = {name: beside / "databases" / name for name in manifest.dumps}
            for name, entry in manifest.dumps.items():
                _extract(source, archive, f"databases/{name}", entry, dumps[name])
        yield manifest, dumps
        if folder.is_dir():
            folder.rmdir()
        os.replace(beside / "outputs", folder)  # noqa: PTH105
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place before the archive's beginning
            raise _damaged(archive, "its table of contents is wrong") from error
        raise _refused(error, folder) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Find what is worth keeping, by names below the folder; a folder that is linked is followed, once."""
    seen = set[tuple[int, int]]()
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        about = Path(parent).stat()
        if (about.st_dev, about.st_ino) in seen:
            folders.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        for path in (Path(parent, name) for name in names):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not name.startswith(_PASSING) and not name.endswith(_PASSING_SUFFIXES):
                yield name, path


def _turn(file: tuple[str, Path]) -> tuple[int, str]:
    name, path = file
    if path.suffix == ".db":
        return 0, name
    if name.startswith("results/"):
        return 1, name
    return (3 if name.startswith("store/sha256/") else 2), name


def _add(target: zipfile.ZipFile, member: str, path: Path) -> Entry:
    """Add a file as it is at one moment.

    Raises:
        FileNotFoundError: it is gone.
        InputError: it is a database that cannot be copied.
    """
    modified = path.stat().st_mtime
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy, path.open("rb") as file:
        if file.read(len(_SQLITE)) == _SQLITE:
            _copy_database(path, copy)
        else:
            file.seek(0)
            shutil.copyfileobj(file, copy, _CHUNK)
        copy.seek(0)
        digest, size = hashlib.sha256(), 0
        with target.open(member, "w", force_zip64=True) as written:
            while chunk := copy.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                written.write(chunk)
    return Entry(sha256=digest.hexdigest(), size=size, modified=max(modified, 0))


def _copy_database(path: Path, copy: IO[bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="pneumonia-backup-") as folder:
        place = Path(folder, path.name)
        try:
            with (
                contextlib.closing(sqlite3.connect(path, timeout=60)) as source,
                contextlib.closing(sqlite3.connect(place)) as made,
            ):
                source.backup(made)
                (state,) = made.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise sqlite3.DatabaseError(state)
        except sqlite3.Error as error:
            raise InputError(
                f"The database {printable(path)} cannot be copied ({printable(error)}): mend it, or take it from an "
                "earlier backup. No backup was made."
            ) from error
        with place.open("rb") as file:
            shutil.copyfileobj(file, copy, _CHUNK)


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        source = zipfile.ZipFile(archive)
    except FileNotFoundError as error:
        raise InputError(f"There is no file {printable(archive)}: name the backup with BACKUP=FILE.") from error
    except (*_DAMAGE, IsADirectoryError) as error:
        raise _damaged(archive, "it is cut off, or no zip archive") from error
    with source:
        yield source


def _manifest(source: zipfile.ZipFile, archive: Path) -> Manifest:
    try:
        with source.open(MANIFEST) as file:
            manifest = Manifest.model_validate(json.loads(file.read(_LARGEST_MANIFEST)))
    except KeyError as error:
        raise _damaged(archive, f"it has no {MANIFEST}, so `make backup` did not make it") from error
    except (ValidationError, RecursionError, *_DAMAGE) as error:
        raise _damaged(archive, f"its {MANIFEST} cannot be read") from error
    names = [*manifest.files, *manifest.dumps]
    astray = next((name for name in names if not _is_below(name)), None)
    if astray is not None:
        raise _damaged(archive, f"it names a file elsewhere, {printable(astray, 60)}")
    return manifest


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _require_room(manifest: Manifest, folder: Path) -> None:
    needed = sum(entry.size for entry in (*manifest.files.values(), *manifest.dumps.values()))
    there = next(each for each in folder.parents if each.exists())
    if shutil.disk_usage(there).free < needed:
        raise DiskError(
            f"The disk under {printable(folder)} has too little room for the backup's {needed / 1e6:,.0f} MB: make "
            "room, or name another folder with OUTPUTS=dir."
        )


def _extract(source: zipfile.ZipFile, archive: Path, member: str, entry: Entry, path: Path) -> None:
    """Write a member to a file, as its entry in the manifest describes it, and nothing more."""
    name = printable(member.partition("/")[2], 60)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), entry.size
    try:
        with source.open(member) as packed, path.open("xb") as file:
            while left >= 0 and (chunk := packed.read(min(_CHUNK, left + 1))):
                digest.update(chunk)
                left -= len(chunk)
                file.write(chunk)
    except KeyError as error:
        raise _damaged(archive, f"{name} is missing from it") from error
    except _DAMAGE as error:
        raise _damaged(archive, f"{name} in it cannot be unpacked ({reason(error)})") from error
    if left or digest.hexdigest() != entry.sha256:
        raise _damaged(archive, f"{name} in it is not what the manifest says")
    os.utime(path, (entry.modified, entry.modified))


def _damaged(archive: Path, what: str) -> InputError:
    return InputError(f"The backup {printable(archive, 80)} is damaged: {what}. Nothing was restored; take another.")


def _refused(error: OSError, place: Path) -> InputError:
    if error.errno in NO_ROOM:
        return DiskError(
            f"{printable(error.filename or place)} cannot be written ({os.strerror(error.errno)}): make room, or name "
            "another place. Nothing was left there."
        )
    named = printable(error.filename or place)
    return InputError(f"{named} cannot be read or written ({error.strerror or type(error).__name__}): mend that.")


def _raise(error: OSError) -> None:
    raise error
