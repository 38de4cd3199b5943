"""Rows of a server, each written exactly once, whenever the client is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import _base
from pathlib import Path

from tasks.reports.jobs import Job, done_rows, write_rows
from tasks.storage.store import Store
from tests.conftest import CHECKOUT
from tests.models.report_generation.openai_server.test_generator import IMAGES, asked, made
from tests.support.openai_stand_in import slow, stand_in

ROWS = 8  # cases, in two strategies


def write_all(url, root):
    """Write what is missing, two rows at a time."""
    generator = made(url, at_once=2)
    rows = asked(generator, ROWS, strategies=["concise", "structured"])
    job = Job(Store(root), generator.identity)
    done = done_rows(job, rows)
    for batch in write_rows(job, generator, rows, IMAGES, list(done)):
        done += batch
    return rows, done


def silent_after(server, count):
    """Answer so many of the questions, those that came first, and no other."""
    return lambda body, before: slow(1000) if server.asked.index(body) >= count else None


def _kept(root):
    shards = [json.loads(path.read_text()) for path in Path(root).glob("jobs/*/shards/*.json")]
    return [row for shard in shards for row in shard]


def _mark(row):
    """The stand-in writes into each answer which question it was."""
    return re.search(r"none, (\w{12})|Clear, (\w{12})", row["text"])[0][-12:]


def test_an_interrupt_leaves_what_was_finished_and_waits_for_nothing(tmp_path):
    root = str(tmp_path / "store")
    code = f"from {__name__} import write_all; write_all({{!r}}, {root!r})"
    with stand_in() as server:
        server.fault = silent_after(server, 4)
        process = subprocess.Popen(
            [sys.executable, "-c", code.format(server.url)], cwd=CHECKOUT, stderr=subprocess.PIPE, text=True
        )
        while len(_kept(root)) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=240)
    assert process.returncode == -signal.SIGINT
    assert told.rstrip().endswith("KeyboardInterrupt")
    assert len(_kept(root)) == 4


def test_requests_are_not_locked_together_so_that_an_interrupt_leaves_none_locked(tmp_path, monkeypatch):
    """One that came while `concurrent.futures.wait` locked them left them locked, and the run waited for ever."""

    def locked(futures):
        raise AssertionError("all futures are being locked")

    monkeypatch.setattr(_base._AcquireFutures, "__enter__", locked)
    with stand_in() as server:
        rows, done = write_all(server.url, str(tmp_path / "store"))
    assert sorted(row.row_id for row in done) == sorted(row.id for row in rows)


def test_a_client_that_is_killed_between_rows_asks_for_none_again_that_was_kept(tmp_path):
    root = str(tmp_path / "store")
    code = f"from {__name__} import write_all; write_all({{!r}}, {root!r})"
    with stand_in() as server:
        server.fault = silent_after(server, 6)
        process = subprocess.Popen([sys.executable, "-c", code.format(server.url)], cwd=CHECKOUT)
        while len(_kept(root)) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        before = {row["row_id"]: row for row in _kept(root)}
        assert 4 <= len(before) <= 6
        server.fault = lambda body, before: None
        rows, done = write_all(server.url, root)
        asked_for = Counter(server.answered)
    assert sorted(row.row_id for row in done) == sorted(row.id for row in rows)
    kept = _kept(root)
    assert len(kept) == len({row["row_id"] for row in kept}) == len(rows)
    assert {row["row_id"]: row for row in kept if row["row_id"] in before} == before
    assert {asked_for[_mark(row)] for row in before.values()} == {1}
    assert sum(asked_for.values()) <= len(rows) + 2  # what was in flight may have been answered twice
