"""Keep the pictures that people bring, each under the digest of its content."""

import contextlib
import hashlib
import re
import shutil
import tempfile
import threading
import time
import unicodedata
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from deployments.page.refusal import RefusalError
from models.errors import NO_ROOM, InputError
from tasks.data.pictures.image_file import read_image

_LONGEST_NAME = 80
_LONGEST_SUFFIX = 12
_PICTURE = re.compile(rf"[0-9a-f]{{64}}/[A-Za-z0-9_][A-Za-z0-9._-]{{0,{_LONGEST_NAME - 1}}}", re.ASCII)
_INCOMING = ".incoming"
_ABANDONED_SECONDS = 3600


@dataclass(frozen=True)
class Limits:
    """How much the page takes.

    Attributes:
        file_bytes: of one file; a mammogram in 16 bits has 60 million.
        files: looked at together.
        batch_bytes: of these files.
        kept_bytes: of all files that are kept.
        at_once: files that are received and decoded at the same time.
        seconds: for a file to arrive.
    """

    file_bytes: int = 100_000_000
    files: int = 200
    batch_bytes: int = 2_000_000_000
    kept_bytes: int = 20_000_000_000
    at_once: int = 8
    seconds: float = 300


class Uploads:
    """Pictures in a folder, as `<digest of the file>/<name>`.

    Args:
        folder: where they are kept.
        limits: how much of them.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._receiving = 0
        self._kept_lock, self._kept_bytes = threading.Lock(), _size(folder)
        self._forget_abandoned()

    def admit(self, declared: str | None) -> None:
        """Refuse a file before any of it is read.

        Args:
            declared: its size in bytes, as `Content-Length` says.

        Raises:
            RefusalError: it is too large, or too much is being received or kept already.
        """
        if declared is not None and not (declared.isascii() and declared.isdigit()):
            raise RefusalError(400, "Content-Length is no number of bytes: send the file as it is.")
        if declared is not None and int(declared) > self._limits.file_bytes:
            raise self._too_large()
        if self._receiving >= self._limits.at_once:
            raise RefusalError(503, f"{self._limits.at_once} files are being received already: try again in a second.")
        if self._kept_bytes + int(declared or 0) > self._limits.kept_bytes:
            self._kept_bytes = _size(self._folder)  # somebody may have made room
            if self._kept_bytes + int(declared or 0) > self._limits.kept_bytes:
                raise RefusalError(
                    507,
                    f"The pictures in outputs/uploads take {self._kept_bytes / 1e9:.1f} GB, as much as is kept: remove "
                    "those that are no longer needed.",
                )

    async def keep(self, content: AsyncIterator[bytes], name: str) -> str:
        """Receive a file, look whether it is a picture, and keep it.

        Args:
            content: the file, piece by piece.
            name: what its owner calls it; nothing but a short and harmless form of it becomes part of a path.

        Returns:
            `<digest>/<name>`, by which `paths` finds it.

        Raises:
            RefusalError: it is too large, empty or no picture, or the disk is full.
        """
        name = safe_name(name)
        self._receiving += 1
        try:
            incoming = self._folder / _INCOMING
            incoming.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=incoming) as room:
                file = Path(room) / name
                digest = await self._receive(content, file)
                await run_in_threadpool(_require_picture, file)
                kept = self._folder / digest / name
                kept.parent.mkdir(exist_ok=True)
                with self._kept_lock:
                    self._kept_bytes += 0 if kept.exists() else file.stat().st_size
                    file.replace(kept)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise RefusalError(
                    507, f"The disk takes no more ({error.strerror}): make room and try again."
                ) from error
            raise
        finally:
            self._receiving -= 1
        return f"{digest}/{name}"

    def paths(self, pictures: Sequence[str]) -> list[Path]:
        """Find pictures that were kept.

        Args:
            pictures: what `keep` returned for each.

        Returns:
            Their files, absolute.

        Raises:
            RefusalError: there are none or too many, one was never kept, or together they are too large.
        """
        if not 1 <= len(pictures) <= self._limits.files:
            raise RefusalError(
                400, f"1 to {self._limits.files} pictures can be looked at together, not {len(pictures)}."
            )
        found = []
        for picture in dict.fromkeys(pictures):
            path = self._folder / picture if _PICTURE.fullmatch(picture) else None
            if path is None or not path.is_file():
                raise RefusalError(400, "One of the pictures is not here any more: choose them again.")
            found.append(path)
        if sum(path.stat().st_size for path in found) > self._limits.batch_bytes:
            raise RefusalError(
                413, f"Together the pictures have more than {self._limits.batch_bytes // 1_000_000} MB: choose fewer."
            )
        return found

    async def _receive(self, content: AsyncIterator[bytes], file: Path) -> str:
        digest, size = hashlib.sha256(), 0
        with file.open("xb") as opened:
            async for piece in content:
                size += len(piece)
                if size > self._limits.file_bytes:
                    raise self._too_large()
                digest.update(piece)
                opened.write(piece)
        if not size:
            raise RefusalError(415, f"{file.name} is an empty file: choose the picture itself.")
        return digest.hexdigest()

    def _too_large(self) -> RefusalError:
        return RefusalError(
            413,
            f"The file is larger than {self._limits.file_bytes // 1_000_000} MB, the most that is taken: export it "
            "smaller, or name it to `python -m flows.cases --cases.images FILE`.",
        )

    def _forget_abandoned(self) -> None:
        """Remove what was being received when an earlier process was killed."""
        for room in (self._folder / _INCOMING).glob("*"):
            with contextlib.suppress(OSError):
                if room.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    shutil.rmtree(room)


def safe_name(name: str) -> str:
    """Make of what a person calls a file a name that is harmless in a path, a log and a page.

    Args:
        name: any text; of a path its last part counts.

    Returns:
        1 to 80 characters of A–Z, a–z, 0–9, dot, dash and underscore, with its suffix; it begins with none of the first
        two, so that it is neither hidden nor taken for an option.
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2][-1000:]
    plain = "".join(c for c in unicodedata.normalize("NFKD", last) if not unicodedata.combining(c))
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", plain).lstrip(".-") or "picture"
    stem, dot, suffix = plain.rpartition(".")
    if not dot or not stem or len(suffix) > _LONGEST_SUFFIX:
        return plain[:_LONGEST_NAME]
    return f"{stem[: _LONGEST_NAME - len(suffix) - 1]}.{suffix}"


def _require_picture(file: Path) -> None:
    """Refuse what the flow `cases` could not read.

    Raises:
        RefusalError: why it cannot be read.
    """
    try:
        read_image(file, name=file.name)
    except InputError as error:
        raise RefusalError(415, str(error)) from error


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*/*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total
