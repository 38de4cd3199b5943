"""Errors are found in every log format that the servers of the tests write."""

import os

import psutil
import pytest

from tests.server_logs import EMBEDDED, ServerLogs, unexpected

GOOD = """
 ___ banner ___
15:44:00.558 | INFO    | Flow run 'a' - ERROR is only a word here
2026/11/27 15:38:13 INFO:     127.0.0.1:41450 - "GET /health HTTP/1.1" 500 Internal Server Error
INFO:     Application startup complete.
2026-11-27 15:38:13.123 UTC [4711] LOG:  database system is ready to accept connections
2026-11-27 15:38:13,123 - distributed.scheduler - INFO - Receive client connection
"""
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\nValueError: no'


@pytest.mark.parametrize(
    "line",
    [
        "15:44:05.532 | ERROR   | prefect.server.services.scheduler - Error scheduling deployment",
        "15:44:05.532 | CRITICAL | prefect - no",
        "2026/11/27 15:38:13 ERROR mlflow.server: no",
        "2026/11/27 15:38:12 ERROR:    Exception in ASGI application",
        "ERROR:    Exception in ASGI application",
        "2026-11-27 15:38:13.123 UTC [4711] prefect@prefect ERROR:  relation does not exist",
        "2026-11-27 15:38:13.123 UTC [4711] FATAL:  no",
        "2026-11-27 15:38:13,123 - distributed.worker - ERROR - no",
        "15:44:05.532 | WARNING | prefect - moved to the dead letter queue",
        TRACEBACK,
        "Exception in thread Thread-3:",
    ],
)
def test_an_error_is_found_with_its_traceback_and_nothing_else(line):
    record = f"{line}\n{TRACEBACK}"
    assert unexpected(GOOD) == []
    found = unexpected(f"{GOOD}{record}\n{GOOD}")
    assert len(found) == 1
    assert found[0].endswith(TRACEBACK if line != TRACEBACK else line) or TRACEBACK in found[0]


def test_only_what_a_file_names_is_let_through(tmp_path):
    locked = "15:44:05.532 | ERROR   | x - Failed in consume_loop\nE (sqlite3.OperationalError) database is locked"
    assert unexpected(locked) == [locked]
    assert unexpected(locked, EMBEDDED) == []
    logs = ServerLogs(["a server was killed"])
    for name in ("embedded.log", "prefect.log"):
        (tmp_path / name).write_text(f"{locked}\nERROR: Connection refused\n")
    logs.watch(tmp_path / "embedded.log", *EMBEDDED)
    logs.check()
    logs.watch(tmp_path / "prefect.log")
    with pytest.raises(AssertionError, match=r"prefect\.log") as error:
        logs.check()
    assert "refused" not in str(error.value)


def test_an_embedded_server_writes_where_it_is_read(prefect_server, server_logs):
    (server,) = [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "uvicorn" in child.cmdline()
    ]
    outputs = {os.readlink(f"/proc/{server.pid}/fd/{number}") for number in (1, 2)}
    assert outputs <= {str(place) for place in server_logs.watched}


def test_each_line_is_told_once_also_of_files_that_come_later(tmp_path):
    logs = ServerLogs([])
    logs.watch(tmp_path)
    logs.check()
    log = tmp_path / "prefect.log"
    log.write_text("ERROR: half a lin")
    logs.check()
    log.write_text("ERROR: half a line\n")
    with pytest.raises(AssertionError, match=r"prefect\.log:\nERROR: half a line"):
        logs.check()
    logs.check()
