"""Standard output and error that outlast whoever reads them.

A worker reads what its runs print, through a pipe; a shell's pipe, its terminal or the disk under a log can go as well.
What a run prints is worth less than the run, so what nobody can take is dropped. Without this, `print` and progress
bars raise, and Rich, with which Prefect logs, ends the process (`rich.console.Console.on_broken_pipe`).
"""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


class _LastingFile(io.FileIO):
    """A file descriptor whose writes never fail."""

    def write(self, content: Any, /) -> int:
        """Write what can be written; the rest counts as written."""
        try:
            return super().write(content)
        except OSError:  # EPIPE: no reader; EIO: no terminal; ENOSPC: no room
            return memoryview(content).nbytes


def outlast_readers() -> None:
    """Put lasting streams in the place of the process's own, and of those that loggers hold already.

    Streams that somebody has replaced (a test runner, a notebook) are left alone.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper and stream is getattr(sys, f"__{name}__"):
            lasting = _lasting(stream)
            setattr(sys, name, lasting)
            setattr(sys, f"__{name}__", lasting)
            _hand_to_loggers(stream, lasting)


@contextlib.contextmanager
def written_to(file: Path) -> Iterator[None]:
    """Let the processes that are started meanwhile write what they print to a file; this one's own goes there too.

    Args:
        file: what is printed is added at its end.
    """
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with file.open("ab") as log:
            for number in kept:
                os.dup2(log.fileno(), number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


def _lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Make a stream on the same descriptor with the same encoding and buffering."""
    with contextlib.suppress(OSError):
        stream.flush()
    file = _LastingFile(stream.fileno(), "w", closefd=False)
    buffered = isinstance(stream.buffer, io.BufferedWriter)
    return io.TextIOWrapper(
        io.BufferedWriter(file) if buffered else file,  # as Python does with -u
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _hand_to_loggers(stream: TextIO, lasting: TextIO) -> None:
    for logger in (logging.getLogger(), *logging.getLogger().manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", ()):
            if getattr(handler, "stream", None) is stream:
                handler.stream = lasting
                if hasattr(handler, "console"):  # Prefect's prints through Rich
                    handler.console.file = lasting
