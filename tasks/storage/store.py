"""The artifact store: content-addressed, atomic, verified on read. The only place that writes artifacts.

The store is one fsspec URI (`locations.store_uri`): a local folder, a shared mount or an object store. A file is named
by the SHA-256 of its content, so the same content is stored once and writers never disagree. Checkpoints, which
change, live beside it under the job that writes them.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray
from pydantic import TypeAdapter

from models.bounded_json import parse_json
from models.errors import NO_ROOM, DiskError
from models.text import printable
from models.zip_archive import open_archive
from tasks.records.base import StoredFile
from tasks.storage.locations import store_uri
from tasks.storage.parsing import one_parses
from tasks.storage.temporary_files import write_whole

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SUFFIXES = {
    "application/octet-stream": "bin",
    "application/json": "json",
    "application/onnx": "onnx",
    "application/x-ndjson": "ndjson",
    "application/x-npz": "npz",
    "application/x-parquet": "parquet",
    "application/x-safetensors": "safetensors",
    "image/png": "png",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
}


class DamagedFileError(RuntimeError):
    """A stored file is missing or its content is not what its name says."""


class MissingFileError(DamagedFileError):
    """A stored file is not there."""


class Store:
    """A content-addressed store on one fsspec URI.

    Args:
        uri: root of the store; None takes the configured one.
    """

    def __init__(self, uri: str | None = None) -> None:
        self.filesystem, self.root = fsspec.core.url_to_fs(uri or store_uri())

    def put(self, content: bytes, media_type: str) -> StoredFile:
        """Store content under its digest; content that is already there, intact, is not written again.

        Args:
            content: the bytes.
            media_type: MIME type, which decides the suffix of the name.

        Returns:
            The record of the stored file.
        """
        digest = hashlib.sha256(content).hexdigest()
        stored = StoredFile(uri=_name(digest, media_type), sha256=digest, size=len(content), media_type=media_type)
        try:
            written = self.intact(stored)
        except OSError:  # it cannot be read now; the same content once more does no harm
            written = False
        if not written:
            self.write(stored.uri, content)
        elif isinstance(self.filesystem, LocalFileSystem):
            with contextlib.suppress(OSError):
                os.utime(self._path(stored.uri))  # garbage goes by when a file was written last
        return stored

    def get(self, stored: StoredFile) -> bytes:
        """Read a stored file and verify it.

        Raises:
            DamagedFileError: if the file is missing, its digest differs, or the record names no place in the store.
            OSError: if it cannot be read now, which says nothing of its content.
        """
        if not _PLACE.fullmatch(stored.uri):
            raise DamagedFileError(f"{printable(stored.uri)} is no place in the store.")
        content = self.read(stored.uri)
        if content is None:
            raise MissingFileError(f"{stored.uri} is missing from the store at {printable(self.root)}.")
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            raise DamagedFileError(f"{stored.uri} in the store at {self.root} does not have the digest in its name.")
        return content

    def intact(self, stored: StoredFile) -> bool:
        """Tell whether a stored file is there with the content that its name says.

        Raises:
            OSError: if it cannot be read now.
        """
        try:
            self.get(stored)
        except DamagedFileError:
            return False
        return True

    def write(self, name: str, content: bytes) -> None:
        """Write content under a name, whole or not at all.

        A local file is written to a temporary name, synced to the disk and renamed; object stores do this themselves.

        Raises:
            DiskError: the disk takes no more.
        """
        path = self._path(name)
        if not isinstance(self.filesystem, LocalFileSystem):
            with _reached():
                self.filesystem.pipe_file(path, content)
            return
        try:
            write_whole(Path(path), content, Path(self.root))
        except OSError as error:
            if error.errno in NO_ROOM:
                raise DiskError(
                    f"The store at {printable(self.root)} takes no more ({error.strerror}): make room, or name another "
                    "place with STORE_URI or OUTPUTS; then run again: what was finished is kept."
                ) from error
            raise

    def read(self, name: str) -> bytes | None:
        """Read what lies under a name; None where nothing does.

        Raises:
            OSError: it cannot be read now.
        """
        try:
            with _reached():
                return self.filesystem.cat_file(self._path(name))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_note(self, name: str, kind: type[T]) -> T | None:
        """Read a JSON value that one can do without: why a step ran, what was tried before.

        Args:
            name: where it lies.
            kind: its type, which Pydantic checks.

        Returns:
            The value; None where there is none, and with a warning where it is damaged or cannot be read.
        """
        try:
            content = self.read(name)
            return None if content is None else TypeAdapter(kind).validate_python(parse_json(content))
        except (OSError, ValueError) as error:
            logger.warning("%s in the store is ignored, since it cannot be read (%s).", name, printable(error))
            return None

    def list(self, folder: str) -> list[str]:
        """List the names of the files in a folder, sorted; empty where there is no such folder.

        What another process has written since the last time is among them.

        Raises:
            OSError: it cannot be listed now.
        """
        try:
            with _reached():
                self.filesystem.invalidate_cache()  # fsspec keeps listings of object stores for as long as it lives
                paths = self.filesystem.ls(self._path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = [f"{folder}/{path.rsplit('/', 1)[-1]}" for path in paths]
        return sorted(name for name in names if not name.endswith(".tmp"))

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it is there."""
        with contextlib.suppress(FileNotFoundError), _reached():
            self.filesystem.invalidate_cache()
            self.filesystem.rm(self._path(name), recursive=True)

    def put_json(self, value: Any) -> StoredFile:
        """Store a JSON value with sorted keys."""
        return self.put(json.dumps(value, indent=1, sort_keys=True).encode(), "application/json")

    def get_json(self, stored: StoredFile) -> Any:
        """Read a stored JSON value.

        Raises:
            DamagedFileError: as in `get`, or the content is no JSON.
        """
        content = self.get(stored)
        try:
            return parse_json(content, len(content))  # of its own making: long lists of rows are among them
        except ValueError as error:
            raise DamagedFileError(f"{stored.uri} holds no JSON ({printable(error)}).") from error

    def put_pictures(self, pictures: Mapping[str, bytes]) -> dict[str, StoredFile]:
        """Store PNG images by name."""
        return {name: self.put(png, "image/png") for name, png in pictures.items()}

    def put_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> StoredFile:
        """Store arrays as one npz, whose bytes are the same for the same arrays."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
        return self.put(buffer.getvalue(), "application/x-npz")

    def get_arrays(self, stored: StoredFile) -> dict[str, NDArray[Any]]:
        """Read stored arrays; never unpickles.

        Raises:
            DamagedFileError: as in `get`, or the content is no archive of arrays.
        """
        content = io.BytesIO(self.get(stored))
        try:
            open_archive(content, stored.size).close()
            with one_parses, np.load(content, allow_pickle=False) as arrays:
                return dict(arrays)
        except Exception as error:  # NumPy parses headers as Python, which fails in many ways
            raise DamagedFileError(f"{stored.uri} holds no arrays ({printable(error)}).") from error

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """Make an `OSError` of what the library behind a file system raises where it is away; botocore has its own.

    Raises:
        OSError: with the library's words.
    """
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise OSError(printable(error)) from error


def _name(digest: str, media_type: str) -> str:
    return f"sha256/{digest[:2]}/{digest}.{_SUFFIXES.get(media_type)}"


_PLACE = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")  # below the root
