"""Read one image from disk."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.bounds import FILE_BYTES
from models.errors import InputError
from models.text import printable
from tasks.data.pictures.decoding_process import DecodingProcesses
from tasks.data.pictures.picture_content import EXPECTED
from tasks.data.pictures.picture_facts import Picture

MAXIMUM_FILE_BYTES = FILE_BYTES

_LARGE, _EMPTY = f"a file of more than {MAXIMUM_FILE_BYTES >> 30} GB", "an empty file"
_DECODERS = DecodingProcesses(min(os.cpu_count() or 1, 4))
os.register_at_fork(after_in_child=_DECODERS.forget)


def read_image(path: str | Path, *, name: str | None = None, colour: bool = False) -> NDArray[np.uint8]:
    """Read an image file of any size, in grey unless colours are asked for.

    What a file is, is told by its content, never by its name; of several pictures or frames the first counts. For how
    values become grey levels see `picture_file.read_picture` and `dicom_file.read_dicom`. It is decoded in another
    process within the bounds of `tasks.data.pictures.decoding_process`, which the first file starts; threads that read
    at the same time have one each.

    Args:
        path: the file; a leading `~` is the home folder.
        name: what a message calls it, printable; its path where there is none.
        colour: whether its colours are wanted.

    Returns:
        Grey levels from 0 (black) to 255, shape (height, width); or colours, shape (height, width, 3).

    Raises:
        InputError: there is no such file, it is no image, or it is damaged, contradictory or too large to be read.
    """
    return read_picture_file(path, name, colour=colour).levels


def read_picture_file(source: str | Path | bytes, name: str | None = None, *, colour: bool = False) -> Picture:
    """Read an image file of any size, as `read_image` does, with what else it tells.

    Args:
        source: the file, where a leading `~` is the home folder; or its content, which then never touches a disk.
        name: what a message calls it; its path, or "the picture", without one.
        colour: whether its colours are wanted.

    Returns:
        Its grey levels or its colours, and what else is known of it.

    Raises:
        InputError: as in `read_image`.
    """
    if isinstance(source, bytes):
        called = printable("the picture" if name is None else name)
        with _in_memory(source, called) as file:
            return _DECODERS.decode(file, called, colour=colour)
    path = Path(source).expanduser()
    called = printable(path if name is None else name)
    with _open(path, called) as file:
        return _DECODERS.decode(file, called, colour=colour)


def _in_memory(content: bytes, name: str) -> BinaryIO:
    """A file with a descriptor, which the process that decodes can be given."""
    if not 0 < len(content) <= MAXIMUM_FILE_BYTES:
        raise _not_read(name, _LARGE if content else _EMPTY)
    file = os.fdopen(os.memfd_create("picture"), "w+b")
    file.write(content)
    file.flush()
    return file


def _open(path: Path, name: str) -> BinaryIO:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= MAXIMUM_FILE_BYTES:
            return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"There is no file {name}: {EXPECTED} was expected; correct the path.") from error
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InputError(
            f"{name} cannot be opened ({reason}): {EXPECTED} was expected; correct the path or its permissions."
        ) from error
    kind = {stat.S_IFDIR: "a folder", stat.S_IFREG: _LARGE if status.st_size else _EMPTY}
    raise _not_read(name, kind.get(stat.S_IFMT(status.st_mode), "no regular file"))


def _not_read(name: str, found: str) -> InputError:
    return InputError(f"{name} is {found}: {EXPECTED} was expected; name one.")
