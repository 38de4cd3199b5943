"""Runs that begin with the libraries in memory, as forks of a process that has loaded them.

To load PyTorch, MLflow and their like is most of what a short run takes of the processor, and no run differs in it.
What reads the environment as it is imported, Prefect and the project, each run loads for itself. The process that is
forked from has one thread and has computed nothing. A run is forked twice: between it and the first process waits one
that notes how it ended. At the end of a fork nanobind tells of what "leaked": libraries that were there before the run
froze what it does not collect.

    python -m tests.soak.forked    (orders on standard input, a line each; process ids on standard output)
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
RUNS = 20
"""Of one process, before another one takes its place: all its forks hash words alike, and draw alike where unseeded."""
MARK = "SOAK_FORKS"
"""Variable by which forks are known: they show the environment of the process that they are forked from."""
_LIBRARIES = (
    "torch", "torchvision", "sklearn.linear_model", "matplotlib.pyplot", "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracing.fluent", "fastapi", "rich.console", "faiss", "psutil",
)  # fmt: skip


class Run:
    """A run that was forked; it is asked like a `subprocess.Popen`."""

    def __init__(self, pid: int, note: Path) -> None:
        self.pid, self.returncode = pid, None
        self._note = note

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None:
            with contextlib.suppress(FileNotFoundError):
                self.returncode = int(self._note.read_text())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        deadline = time.monotonic() + (timeout or float("inf"))
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(0.05)
        return self.returncode


class Forks:
    """The process that is forked from; it begins with the first run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._runs = 0

    def start(self, words: list[str], environment: dict[str, str], log: Path, note: Path) -> Run:
        """Start a run of `tests.soak.program` in a session of its own.

        Args:
            words: module and command line.
            environment: of the run.
            log: what it prints is written there.
            note: file that will hold its exit code.
        """
        order = {"words": words, "environment": environment, "log": str(log), "note": str(note)}
        with self._lock:
            if self._process is None or self._runs == RUNS:
                self._end()
                self._process, self._runs = self._begin(), 0
            self._runs += 1
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(f"{json.dumps(order)}\n")
            self._process.stdin.flush()
            return Run(int(self._process.stdout.readline()), note)

    def close(self) -> None:
        """End it; the runs go on."""
        with self._lock:
            self._end()

    def _begin(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "tests.soak.forked"],
            cwd=CHECKOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1", MARK: str(os.getpid())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _end(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            self._process = None


def _become(order: dict[str, Any], ready: int) -> None:
    """Make this process, a fork, what a new process with these words would be once it has loaded the libraries."""
    os.setsid()
    os.write(ready, b"1")
    os.close(ready)
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    sys.argv = [__file__, *order["words"]]


def _fork(order: dict[str, Any]) -> bool:
    """Fork a run and who waits for it; return whether this process is the run."""
    if os.fork():
        return False
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listen, ready = os.pipe()
    run = os.fork()
    if not run:
        os.close(listen)
        _become(order, ready)
        return True
    os.close(ready)
    os.read(listen, 1)
    os.write(1, f"{run}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])
    note = Path(order["note"])
    note.with_suffix(".part").write_text(str(code))
    note.with_suffix(".part").rename(note)
    os._exit(0)


def main() -> None:
    """Load the libraries, then fork a run for each order."""
    from tasks.storage.locations import environment

    os.environ.update(environment())
    for name in _LIBRARIES:
        importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a run is waited for by nobody
    while line := os.read(0, 1 << 20):
        while not line.endswith(b"\n"):
            line += os.read(0, 1 << 20)
        if _fork(json.loads(line)):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            from tests.soak import program

            program.main()
            return
    os._exit(0)  # at the end of Python some libraries say what nobody asked


if __name__ == "__main__":
    main()
