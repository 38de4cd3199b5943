"""Files that a person names, or that lie in a folder which a person names, read within a bound."""

import os
import stat
from pathlib import Path


def read_file(path: Path, most: int) -> bytes:
    """Read a file whole.

    Args:
        path: the file.
        most: bytes that it may have.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read, or is none: a pipe or a device would be waited for.
        ValueError: it is larger.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a pipe is opened, not waited for
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("it is no regular file")
        content = file.read(most + 1)  # one that grows while it is read is bounded, too
    if len(content) > most:
        raise ValueError(f"it has more than {most >> 20} MiB")
    return content
