"""Runs as processes: undisturbed ones, which tell what is right, and those that meet bad luck."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.server_logs import EMBEDDED, unexpected
from tests.soak.aftermath import Aftermath, look
from tests.soak.forked import MARK, Forks, Run
from tests.support import smallest

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 1800
_NUMBERS = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|\d+(\.\d+)?")
Started = subprocess.Popen[bytes] | Run
LEAVES_SECONDS = 60
"""How long the processes of a run that was killed may take to end."""


@dataclass(frozen=True)
class Program:
    """A flow with its form.

    Attributes:
        name: what it is called in the table.
        module: what runs it.
        words: its command line.
        before: programs whose products it needs.
    """

    name: str
    module: str
    words: tuple[str, ...]
    before: tuple["Program", ...] = ()


@dataclass
class Place:
    """A folder of products with what the runs there have for themselves.

    Attributes:
        room: holds `outputs/` and `temporary/`.
        data: folder of the dataset.
        material: folder that stands for `{material}` in the words of programs.
        forks: from which runs are forked; None starts each by its command.
        log: what the runs printed.
    """

    room: Path
    data: Path
    material: Path
    forks: Forks | None = None
    log: list[str] = field(default_factory=list)
    _sessions: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.temporary.mkdir(parents=True, exist_ok=True)

    @property
    def outputs(self) -> Path:
        """The products."""
        return self.room / "outputs"

    @property
    def temporary(self) -> Path:
        """What the runs take for the folder of temporary files."""
        return self.room / "temporary"

    def environment(self, **others: str) -> dict[str, str]:
        """Make the environment of a run."""
        taken = ("PREFECT_", "MLFLOW_", "SOAK_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(taken)}
        own = {"OUTPUTS": str(self.outputs), "DATA": str(self.data), "TMPDIR": str(self.temporary)}
        return kept | {"OMP_NUM_THREADS": "1"} | own | others

    def start(self, program: Program, wrapper: tuple[str, ...] = (), **luck: str) -> Started:
        """Start a run in a session of its own; within a wrapper, or with a library before others, by its command."""
        self.room.joinpath("log").mkdir(exist_ok=True)
        file = self.room / "log" / f"{len(self.log):02d}-{program.name}.log"
        self.log.append(str(file))
        words = [program.module, *(word.replace("{material}", str(self.material)) for word in program.words)]
        environment = self.environment(**luck)
        if self.forks is not None and not wrapper and "LD_PRELOAD" not in luck:
            started: Started = self.forks.start(words, environment, file, file.with_suffix(".code"))
        else:
            with file.open("wb") as log:
                started = subprocess.Popen(
                    [*wrapper, sys.executable, "-m", "tests.soak.program", *words],
                    cwd=CHECKOUT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        self._sessions.add(started.pid)
        return started

    def finish(self, process: Started) -> int:
        """Wait for a run and for all that it started; return its exit code."""
        try:
            code = process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return -1
        return code

    def run(self, program: Program, **luck: str) -> int:
        """Run undisturbed, or with the luck that was ordered; return the exit code."""
        return self.finish(self.start(program, **luck))

    def said(self) -> str:
        """Return what the last run printed."""
        return Path(self.log[-1]).read_text(errors="replace")

    def living(self) -> list[psutil.Process]:
        """Find the processes that work here: forks of a run's session, and those that have its environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                shown = process.environ()
                forked = shown.get(MARK) == str(os.getpid()) and os.getsid(process.pid) in self._sessions
                here = forked or shown.get("OUTPUTS") == str(self.outputs)
                if here and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def warned(self) -> set[str]:
        """Return what the runs warned of, with no numbers in it."""
        lines = [line for log in self.log for line in Path(log).read_text(errors="replace").splitlines()]
        return {_NUMBERS.sub("#", line[line.upper().index("WARN") :])[:160] for line in lines if "WARN" in line.upper()}

    def strange(self, *expected: str) -> list[str]:
        """Return errors and tracebacks that runs and their servers have logged, whatever became of the runs.

        Args:
            expected: names of those that are no fault here, in `tests.server_logs.EXPECTED`.
        """
        files = [*map(Path, self.log), self.outputs / "prefect" / "embedded.log"]
        files += sorted((self.outputs / "services").glob("*.log"))
        texts = {file: file.read_text(errors="replace") for file in files if file.exists()}
        names = (*EMBEDDED, *expected)
        return [f"{file.name}: {record[-600:]}" for file, text in texts.items() for record in unexpected(text, names)]

    def wait_until_left(self) -> list[str]:
        """Wait until nothing works here; name, and end, what still does after a while."""
        deadline = time.monotonic() + LEAVES_SECONDS
        while (left := self.living()) and time.monotonic() < deadline:
            time.sleep(0.2)
        named = []
        for process in left:
            with contextlib.suppress(psutil.Error):
                named.append(" ".join(process.cmdline())[:80])
                process.kill()
        return named


@dataclass(frozen=True)
class Undisturbed:
    """What a program does and leaves when nothing happens.

    Attributes:
        acts: how many there are.
        processor_seconds: of the process and those that it started.
        aftermath: what is there then.
    """

    acts: int
    processor_seconds: float
    aftermath: Aftermath


def run_undisturbed(place: Place, program: Program) -> Undisturbed:
    """Run a program and look at what it does.

    Raises:
        RuntimeError: it does not end well, so that nothing can be learned of it under bad luck.
    """
    count = place.room / "acts"
    process = place.start(program, SOAK_COUNT=str(count))
    used = 0.0
    for used in processor_seconds(process):  # noqa: B007 - the last one counts
        time.sleep(0.1)
    if place.finish(process) != 0:
        raise RuntimeError(f"{program.name} does not end well undisturbed:\n{place.said()[-3000:]}")
    return Undisturbed(int(count.read_text()), used, look(place.outputs, place.temporary))


def processor_seconds(process: Started) -> Iterator[float]:
    """Yield, until a run ends, how long it and what it started have used a processor."""
    main, used = psutil.Process(process.pid), dict[int, float]()
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            for member in (main, *main.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    times = member.cpu_times()
                    used[member.pid] = times.user + times.system
        yield sum(used.values())


def smallest_program(
    name: str, module: str, *forms: str, before: tuple[Program, ...] = (), **others: object
) -> Program:
    """Make a program of the smallest forms."""
    return Program(name, module, tuple(smallest.words(*forms, **others)), before)
