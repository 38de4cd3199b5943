"""Read one image from disk."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.text import printable
from tasks.data.pictures.decoding_process import DecodingProcess
from tasks.data.pictures.picture_content import EXPECTED
from tasks.shared.model_size import to_model_size as to_model_size  # what is read is mostly brought to it

MAXIMUM_FILE_BYTES = 1 << 31

_DECODER = DecodingProcess()
os.register_at_fork(after_in_child=_DECODER.forget)


def read_image(path: str | Path, *, name: str | None = None) -> NDArray[np.uint8]:
    """Read an image file of any size in grey.

    What a file is, is told by its content, never by its name; of several pictures or frames the first counts. For how
    values become grey levels see `picture_file.read_picture` and `dicom_file.read_dicom`. It is
    decoded in another process within the bounds of `tasks.data.pictures.decoding_process`, which the first file starts.

    Args:
        path: the file; a leading `~` is the home folder.
        name: what a message calls it, printable; its path where there is none.

    Returns:
        Grey levels from 0 (black) to 255, shape (height, width).

    Raises:
        InputError: there is no such file, it is no image, or it is damaged, contradictory or too large to be read.
    """
    path = Path(path).expanduser()
    name = name or printable(path)
    with _open(path, name) as file:
        return _DECODER.decode(file, name)


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
    large = f"a file of more than {MAXIMUM_FILE_BYTES >> 30} GB"
    kind = {stat.S_IFDIR: "a folder", stat.S_IFREG: large if status.st_size else "an empty file"}
    found = kind.get(stat.S_IFMT(status.st_mode), "no regular file")
    raise InputError(f"{name} is {found}: {EXPECTED} was expected; name one.")
