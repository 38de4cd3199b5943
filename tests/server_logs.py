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
    """

    pattern: str
    reason: str


EXPECTED = {
    "SQLite is locked": Expected(
        r"\(sqlite3\.OperationalError\) database is locked",
        "of embedded servers, which begin transactions as readers; that of `make up` begins them as writers",
    ),
    "a run was ended": Expected(
        r"(Crash detected! |Finished in state Crashed\(')Execution was aborted by a termination signal",
        "the test cancels the run, or ends its worker",
    ),
    "a server was killed": Expected(
        r"Connection refused|Connect call failed|All connection attempts failed|Server disconnected"
        r"|no close frame received|ConnectionResetError|BrokenPipeError"
        r"|(Connect|Read|Write|RemoteProtocol)Error:"  # of httpx
        r"|did not receive a valid HTTP response|stream ends after \d+ bytes"  # while a connection was being opened
        r"|prefect\._internal\.concurrency - Service 'EventsWorker' failed|prefect\.FlowRunCancellingObserver - ",
        "the test kills the server, and who speaks to it says so until it is back",
    ),
    "a worker ended while it polled": Expected(
        r"_handle_polling_task_done[\s\S]*CancelledError",
        "once its server has been away it polls; when it ends, Prefect's callback trips over the cancelled poll",
    ),
    "a Dask worker is elsewhere": Expected(
        r"No module named 'tasks'", "the test starts it in a folder without the project, and the flow says so"
    ),
    "a Dask worker ends": Expected(
        r"Failed to communicate with scheduler during heartbeat",
        "its cluster is being closed, and the heartbeat that was under way ended; or the test kills its scheduler",
    ),
    "a Dask scheduler is gone": Expected(
        r"distributed\.client - ERROR - [\s\S]*_ensure_connected",
        "the test kills it, and the client looks for it again",
    ),
    "an event came twice": Expected(
        r"dropping \d+ events[\s\S]*NOT NULL constraint failed: events\.occurred",
        "sent again to a server that was away; it is stored already, and of such a batch Prefect inserts an empty row",
    ),
    "an automation was changed": Expected(
        r"Trigger\._automation has been garbage collected",
        "the test changes or deletes it while the server's loop looks at it; the next round finds the new one",
    ),
    "two events were counted at once": Expected(
        r"Could not refresh instance '<AutomationBucket",
        "on PostgreSQL, one has emptied the count of an automation that the other rereads; it is taken up again",
    ),
    "PostgreSQL starts": Expected(
        r"FATAL:  the database system is (starting up|shutting down)", "the test asks whether it is there, until it is"
    ),
    "PostgreSQL was away": Expected(
        r"terminating connection due to administrator command|Connection refused|Connect call failed"
        r"|ConnectionDoesNotExistError|CannotConnectNowError|the database system is (starting up|shutting down)"
        r"|Worker channel (setup failed due to a transient server error|heartbeat persistence failed)",
        "the test restarts it, and who speaks to it says so until it is back",
    ),
    "a metric was logged already": Expected(
        r'duplicate key value violates unique constraint "metric_pk"',
        "a step that is tried again logs anew; MLflow tries to insert, and leaves out what is there",
    ),
    "a task run was recorded already": Expected(
        r'duplicate key value violates unique constraint "pk_task_run"',
        "of two events of a task run that arrive at once, Prefect's recorder inserts both, and tries the second again",
    ),
    "a worker was cut off": Expected(
        r"WorkerChannelConnection\._receive_loop[\s\S]*WebSocketDisconnected"
        r"|websockets\.client - keepalive ping failed",
        "on a busy machine a worker's connection runs out of time; the server was about to read from it",
    ),
    "a webhook refuses": Expected(
        r"RuntimeError: An alert was not taken: its webhook answers 500", "the test has it refuse one of the alerts"
    ),
    "a stranger knocked": Expected(
        r"Exception in callback [\s\S]*in on_connection[\s\S]*Unable to allocate",
        "a client of another test asks for a server that had the port before, and Dask takes its words for a length",
    ),
    "a login where none is asked for": Expected(
        r"validation errors for Event[\s\S]*'token': '…'", "the test sends one, as clients of another server do"
    ),
    "a wrong password": Expected(r"FATAL:  password authentication failed", "the test tries one"),
    "a schedule was paused": Expected(
        r"Failed to update state of flow run[\s\S]*404 Not Found",
        "the pause deletes the runs to come, one of which the worker was about to take",
    ),
    "a run without a champion": Expected(
        r"No classifier is registered as '(pneumonia|nobodys)-classifier'",
        "its flow says so; the test wants it to fail",
    ),
    "no weights of MedGemma": Expected(
        r"google/medgemma-4b-it is not in this machine's cache",
        "they are not in reach of a test; the run ends with a sentence",
    ),
    "wrong parameters": Expected(
        r"is no parameter|is no field of|input should be a valid string", "the test gives them, and the run says so"
    ),
}
"""By name; a test file names those that it provokes: `pytest.mark.expected_in_logs("…")`."""
EMBEDDED = ("SQLite is locked",)
"""What is expected of an embedded server."""


def unexpected(text: str, names: Iterable[str] = ()) -> list[str]:
    """Find the errors in a log.

    Args:
        text: the log, or its end.
        names: of what is expected here.

    Returns:
        The records, with their tracebacks, that are errors and not expected.
    """
    patterns = [EXPECTED[name].pattern for name in names]
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
    _copies: ClassVar[dict[Path, int]] = {}  # inode of the latest copy of each, see `tasks.storage.log_files`

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        assert set(self._names) <= EXPECTED.keys(), self._names
        self.watched: dict[Path, tuple[str, ...]] = {}

    def watch(self, place: Path, *names: str) -> None:
        """Read a log from now on, or all `*.log` in a folder, those to come included.

        Args:
            place: file or folder.
            names: of errors that are expected here, beside those that the file provokes.
        """
        self.watched[place] = (*self._names, *names)

    def check(self) -> None:
        """Read what was written since the last time.

        Raises:
            AssertionError: an unexpected error is there; its lines are the message.
        """
        found = [f"{file}:\n{record}" for file, names in self._files() for record in self._new(file, names)]
        assert not found, "unexpected in the logs of servers and workers\n" + "\n".join(found)

    def _files(self) -> list[tuple[Path, tuple[str, ...]]]:
        return [
            (file, names)
            for place, names in self.watched.items()
            for file in (sorted(place.glob("*.log")) if place.is_dir() else [place])
            if file.exists() and not file.stem.rpartition(".")[2].isdigit()  # those are read with the one after them
        ]

    def _new(self, file: Path, names: Iterable[str]) -> list[str]:
        parts = self._unread(file)
        texts = [_from(*part) for part in parts]
        found = unexpected("".join(texts), names)
        if found:  # perhaps its traceback is still being written
            time.sleep(1)
            texts = [_from(*part) for part in parts]
            found = unexpected("".join(texts), names)
        self._read[file] = parts[-1][1] + len(texts[-1].encode(errors="surrogateescape"))
        return found

    def _unread(self, file: Path) -> list[tuple[Path, int]]:
        """Return what was not read yet: files, and where it begins; some is in a copy if the log was begun anew."""
        read = self._read.get(file, 0)
        copy = file.with_name(f"{file.stem}.1{file.suffix}")
        known = self._copies.get(file, 0)
        self._copies[file] = copy.stat().st_ino if copy.exists() else 0
        return [(file, read)] if self._copies[file] == known else [(copy, read), (file, 0)]


def _from(file: Path, start: int) -> str:
    """Read whole lines."""
    with file.open("rb") as log:
        log.seek(start)
        data = log.read()
    return data[: data.rfind(b"\n") + 1].decode(errors="surrogateescape")
