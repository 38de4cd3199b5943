"""What servers, workers and runs wrote into their logs, read at the end of every test; what is unexpected fails it.

A loop of a server that raises says so in its log and nowhere else: its answers stay good, and so do tests of them.
The fixture `server_logs` (tests/conftest.py) watches files; `unexpected` reads what a process has printed.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

_LEVELS = "DEBUG|INFO|NOTICE|LOG|HINT|DETAIL|STATEMENT|CONTEXT|WARNING|WARN|ERROR|CRITICAL|FATAL|PANIC"
_HEADER = re.compile(
    r"^(?:\d\d:\d\d:\d\d\.\d+ \| "  # Prefect
    r"|\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d\S*(?: - \S+ -| \S+ \[\d+\](?: \S+@\S+)?)? "  # MLflow; Dask; PostgreSQL
    rf"|)({_LEVELS})(?: *\| |:| )"  # uvicorn
)
_BAD_LEVELS = {"ERROR", "CRITICAL", "FATAL", "PANIC"}
_BAD_TEXT = re.compile(
    r"Traceback \(most recent call last\)|Exception in thread|Exception ignored in|was never retrieved"
    r"|Fatal Python error|Segmentation fault|dead letter queue"  # an event that the server gave up on
)


@dataclass(frozen=True)
class Expected:
    """An error that a test may find in a log.

    Attributes:
        pattern: what the whole record holds, its traceback included.
        reason: why it is no fault.
        everywhere: in every test; else only where a test file says that it provokes it.
    """

    pattern: str
    reason: str
    everywhere: bool = False


EXPECTED = {
    "SQLite is locked": Expected(
        r"\A.*(consume_loop|heartbeat persistence failed)[\s\S]*sqlite3\.OperationalError\) database is locked",
        "SQLite lets one write at a time; Prefect's server takes the message up again, and so does the next heartbeat",
        everywhere=True,
    ),
    "a run without a champion": Expected(
        r"No classifier is registered as 'pneumonia-classifier'", "its flow says so; the test wants it to fail"
    ),
}
"""By name; a test file names those that it provokes: `pytest.mark.expected_in_logs("…")`."""


def unexpected(text: str, names: Iterable[str] = ()) -> list[str]:
    """Find the errors in a log.

    Args:
        text: the log, or its end.
        names: of what is expected here, beside what is expected everywhere.

    Returns:
        The records, with their tracebacks, that are errors and not expected.
    """
    patterns = [error.pattern for name, error in EXPECTED.items() if error.everywhere or name in names]
    return [
        record
        for record in _records(text)
        if _is_bad(record) and not any(re.search(pattern, record) for pattern in patterns)
    ]


def _records(text: str) -> list[str]:
    records: list[list[str]] = [[]]
    for line in text.splitlines():
        if _HEADER.match(line):
            records.append([])
        records[-1].append(line)
    return ["\n".join(lines) for lines in records if lines]


def _is_bad(record: str) -> bool:
    header = _HEADER.match(record)
    return bool(header and header[1] in _BAD_LEVELS) or bool(_BAD_TEXT.search(record))


class ServerLogs:
    """The logs of what a test file started.

    Args:
        names: of the errors that it provokes.
    """

    _read: ClassVar[dict[Path, int]] = {}  # how much of each log; one server serves several files

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        assert set(self._names) <= EXPECTED.keys(), self._names
        self._watched: list[Path] = []

    def watch(self, place: Path) -> None:
        """Read a log from now on, or all `*.log` in a folder, those to come included."""
        if place not in self._watched:
            self._watched.append(place)

    def check(self) -> None:
        """Read what was written since the last time.

        Raises:
            AssertionError: an unexpected error is there; its lines are the message.
        """
        found = [f"{file}:\n{record}" for file in self._files() for record in self._new(file)]
        assert not found, "unexpected in the logs of servers and workers\n" + "\n".join(found)

    def _files(self) -> list[Path]:
        return [
            file
            for place in self._watched
            for file in (sorted(place.glob("*.log")) if place.is_dir() else [place])
            if file.exists()
        ]

    def _new(self, file: Path) -> list[str]:
        start = self._read.get(file, 0)
        text = _from(file, start)
        found = unexpected(text, self._names)
        if found:  # perhaps its traceback is still being written
            time.sleep(1)
            text = _from(file, start)
            found = unexpected(text, self._names)
        self._read[file] = start + len(text.encode(errors="surrogateescape"))
        return found


def _from(file: Path, start: int) -> str:
    """Read whole lines."""
    data = file.read_bytes()[start:]
    return data[: data.rfind(b"\n") + 1].decode(errors="surrogateescape")
