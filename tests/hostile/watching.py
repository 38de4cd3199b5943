"""What a reader may not do with a file, whatever is in it: run code, write, connect.

Python tells of each such act by an audit event (PEP 578) before it is done.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ACTS = {
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn",
    "pickle.find_class", "ctypes.dlopen", "socket.connect", "socket.getaddrinfo", "os.symlink",
    "os.link", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.truncate", "shutil.rmtree",
}  # fmt: skip
_DECODER = "tasks.data.pictures.decoding_process"  # the one process that reading starts
_watched = threading.local()


def _event(event: str, arguments: tuple[Any, ...]) -> None:
    found: list[str] | None = getattr(_watched, "found", None)
    if found is None:
        return
    if event == "open" and isinstance(arguments[0], str | bytes) and _writes(arguments):
        path = Path(os.fsdecode(arguments[0]))
        if not any(path.is_relative_to(folder) for folder in _watched.folders):
            found.append(f"opens {path} to write")
    elif event in _ACTS and not (event == "subprocess.Popen" and _DECODER in str(arguments[1])):
        if event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir") and any(
            Path(os.fsdecode(arguments[0])).is_relative_to(folder) for folder in _watched.folders
        ):
            return
        found.append(f"{event} {str(arguments)[:200]}")


def _writes(arguments: tuple[Any, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


_installed = False


@contextlib.contextmanager
def watched(*folders: Path) -> Iterator[list[str]]:
    """Note what this thread does within the block that no reader may do.

    Args:
        folders: where it may write, beside the null device.

    Yields:
        What it did, filled as it happens.
    """
    global _installed  # an audit hook stays for as long as the process
    if not _installed:
        sys.addaudithook(_event)
        sys.dont_write_bytecode = True  # what a reader imports first is no act of its
        _installed = True
    found: list[str] = []
    _watched.folders = (*folders, Path(os.devnull))
    _watched.found = found
    try:
        yield found
    finally:
        _watched.found = None
