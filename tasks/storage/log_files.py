"""Logs that do not grow for ever: a large one becomes the first of a few earlier ones, and begins anew.

A server writes what it and its children print into a file that was opened for it, so the file itself is kept: its
content is copied and it is emptied, as logrotate does with `copytruncate`. It was opened to append, so what follows
stands at its beginning. A line that is written in the microseconds between the last look and the emptying is lost.
"""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

LARGEST_BYTES = 10_000_000
KEPT = 3
_SECONDS = 10


def rotate(log: Path, largest: int = LARGEST_BYTES, kept: int = KEPT) -> bool:
    """Begin a log anew where it is large.

    Args:
        log: `NAME.log`; the earlier ones are `NAME.1.log`, the latest, `NAME.2.log` and so on.
        largest: bytes up to which it stays as it is.
        kept: how many earlier ones there are at most, above 0.

    Returns:
        Whether it was begun anew.

    Raises:
        OSError: it cannot be copied, for want of room for instance; it goes on as it is.
    """
    if not log.exists() or log.stat().st_size <= largest:
        return False
    earlier = [log.with_name(f"{log.stem}.{number}{log.suffix}") for number in range(1, kept + 1)]
    copy = log.with_name(f"{log.name}.tmp")
    try:
        with log.open("r+b") as current, copy.open("wb") as target:
            shutil.copyfileobj(current, target)
            target.flush()
            for older, newer in zip(reversed(earlier), [*reversed(earlier[:-1]), copy], strict=True):
                if newer.exists():
                    os.replace(newer, older)  # noqa: PTH105
            shutil.copyfileobj(current, target)  # what was written meanwhile
            target.flush()
            current.truncate(0)
    finally:
        copy.unlink(missing_ok=True)
    return True


def keep_small(folder: Path) -> None:
    """Look after all logs in a folder for as long as this process lives.

    Args:
        folder: it may come later.
    """

    def watch() -> None:
        pause = threading.Event()
        while not pause.wait(_SECONDS):
            rotate_all(folder.glob("*.log"))

    threading.Thread(target=watch, name="log-files", daemon=True).start()


def rotate_all(logs: Iterable[Path]) -> None:
    """Begin each log anew that is large; one that cannot be copied now is left for later."""
    for log in logs:
        if not log.stem.rpartition(".")[2].isdigit():
            with contextlib.suppress(OSError):
                rotate(log)
