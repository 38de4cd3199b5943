"""Hostile files for every reader: python -m tests.hostile.fuzz CASES.

Each reader runs in a process of its own, with little memory to spare, so that a crash, a hang and a giant allocation
count as lost. What is lost is written to outputs/fuzz/, in the smallest form that hypothesis finds.
"""

import argparse
import contextlib
import ctypes
import faulthandler
import logging
import math
import multiprocessing
import multiprocessing.connection
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings

from models.bounds import FILE_BYTES, FILE_SECONDS
from tests.hostile.mutations import Rolled, case, cases
from tests.hostile.readers import READERS, ROOM, Reader
from tests.hostile.watching import watched

_SEARCHED = 300  # cases of a reader that hypothesis chooses, in which it finds the smallest that is lost
_HANGS = 600  # seconds after which a file counts as one that is never done with, also on a busy machine
_LONGEST = 300  # characters of a sentence
_LONGEST_LINE = 400  # of one that is logged, which may hold such a sentence
_MOST_ARENAS = -8  # M_ARENA_MAX of malloc.h
FOUND = Path(__file__).parents[2] / "outputs" / "fuzz"
"""Where the case is kept that is being tried, and stays where it was lost."""


class Count(NamedTuple):
    """What became of a reader's cases.

    Attributes:
        reader: its name.
        tried: cases.
        accepted: cases that were read.
        refused: cases that were refused in one sentence.
        lost: what happened to others, in words; one at most, after which the reader is left.
        seconds: of the processor, for making the cases and for reading them.
    """

    reader: str
    tried: int
    accepted: int
    refused: int
    lost: tuple[str, ...]
    seconds: float = 0.0


class Fault(AssertionError):  # noqa: N818
    """A reader does what none may."""


def check(reader: Reader, content: bytes) -> bool:
    """Let a reader read.

    Args:
        reader: of the table.
        content: of a file.

    Returns:
        Whether it accepted the file; else it refused it in one sentence.

    Raises:
        Fault: it did anything else.
    """
    started = time.thread_time()
    accepted, acts, lines = True, [], []
    try:
        with watched(ROOM, *_products()) as acts, _logged() as lines:
            reader.read(content)
    except reader.refusals as error:
        accepted = False
        _check_sentence(error)
    except Exception as error:
        raise Fault(f"{type(error).__name__}: {str(error)[:200]!r}") from error
    if acts:
        raise Fault(f"it {acts[0]}")
    for line in lines:
        if not line.isprintable() or len(line) > _LONGEST_LINE:
            raise Fault(f"what it logs is not fit to be shown: {line[:200]!r}")
    if (took := time.thread_time() - started) > FILE_SECONDS:
        raise Fault(f"it took {took:.1f} s of the processor")
    return accepted


def _products() -> list[Path]:
    return [Path(os.environ["OUTPUTS"])] if os.environ.get("OUTPUTS") else []


@contextlib.contextmanager
def _logged() -> Iterator[list[str]]:
    """Take what is logged and warned of within the block, in place of the terminal."""
    root, lines = logging.getLogger(), []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    before, root.handlers = root.handlers, [Lines(logging.INFO)]
    try:
        with warnings.catch_warnings(action="ignore"):
            yield lines
    finally:
        root.handlers = before


def _check_sentence(error: Exception) -> None:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):  # whose callers say a sentence of their own
        return
    said = str(error)
    if not said.isprintable() or not 0 < len(said) <= _LONGEST:
        raise Fault(f"its sentence is not fit to be shown: {said[:200]!r}") from error


def fuzz(reader: Reader, count: int, random: int, note: Callable[[bytes], object] = lambda content: None) -> Count:
    """Try cases on a reader in this process: some that hypothesis chooses, the rest quicker.

    Args:
        reader: of the table.
        count: how many.
        random: seed.
        note: gets each case before it is read.

    Returns:
        The counts.
    """
    valid = reader.valid()
    for content in valid:  # which loads what it needs
        with contextlib.suppress(*reader.refusals), _logged():
            reader.read(content)
    counts = [0, 0, 0]
    started = _processor_seconds()

    @seed(random)
    @settings(
        max_examples=min(count, _SEARCHED),
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(cases(reader.mutation, valid))
    def search(content: bytes) -> None:
        attempt(content)

    def attempt(content: bytes) -> None:
        note(content)
        counts[0] += 1
        counts[1 if check(reader, content) else 2] += 1

    rolled = Rolled(f"{random} {reader.name}")
    try:
        search()
        while counts[0] < count:
            attempt(case(rolled, reader.mutation, valid))
    except Fault as error:
        return Count(reader.name, *counts, (str(error),), _processor_seconds() - started)
    return Count(reader.name, *counts, (), _processor_seconds() - started)


def _processor_seconds() -> float:
    """Of this process and of those that it started: pictures are decoded in another."""
    process, seconds = psutil.Process(), 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # whose seconds are its parent's from then on
            seconds += sum(each.cpu_times()[:4])
    return seconds


def fuzz_all(
    cases: int, random: int = 0, at_once: int = 1, ended: Callable[[Count], object] = lambda count: None
) -> list[Count]:
    """Try cases on all readers, each in a process of its own, which is forked from this one.

    Args:
        cases: how many, together, at least.
        random: seed.
        at_once: processes.
        ended: is told of each reader that is done.

    Returns:
        The counts, in the order of the table.
    """
    context = multiprocessing.get_context("fork")
    whole = sum(reader.share for reader in READERS)
    waiting = [(reader, math.ceil(cases * reader.share / whole)) for reader in READERS]
    running: dict[Any, tuple[Reader, Any]] = {}
    found: dict[str, Count] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            reader, wanted = waiting.pop(0)
            answer, told = context.Pipe(duplex=False)
            process = context.Process(target=_tell, args=(told, reader, wanted, random))
            process.start()
            told.close()
            running[answer] = reader, process
        for answer in multiprocessing.connection.wait(list(running)):
            reader, process = running.pop(answer)
            try:
                found[reader.name] = answer.recv()
            except EOFError:
                process.join()
                end = process.exitcode
                found[reader.name] = Count(reader.name, 0, 0, 0, (f"the process ends with {end}: see outputs/fuzz",))
            process.join()
            ended(found[reader.name])
    return [found[reader.name] for reader in READERS]


def _tell(told: Any, reader: Reader, cases: int, random: int) -> None:
    told.send(alone(reader, cases, random))


def table(counts: Sequence[Count]) -> str:
    """Write the counts as lines of text."""
    rows = [f"{'reader':34} {'tried':>8} {'accepted':>9} {'refused':>8} {'lost':>5} {'a second':>8}"]
    rows += [
        f"{each.reader:34} {each.tried:8,} {each.accepted:9,} {each.refused:8,} {len(each.lost):5} "
        f"{_rate(each.tried, each.seconds):>8}" + "".join(f"\n    {fault}" for fault in each.lost)
        for each in counts
    ]
    sums = [sum(column) for column in zip(*(each[1:4] for each in counts), strict=True)]
    lost = sum(len(each.lost) for each in counts)
    rate = _rate(sums[0], sum(each.seconds for each in counts))
    return "\n".join([*rows, f"{'all':34} {sums[0]:8,} {sums[1]:9,} {sums[2]:8,} {lost:5} {rate:>8}"])


def _rate(cases: int, seconds: float) -> str:
    """Write cases a second of the processor."""
    return f"{cases / seconds:,.0f}" if seconds else "-"


def _reserve_little() -> None:
    """Keep glibc from reserving 64 MiB for each of 16 threads, which counts as taken where memory is bounded."""
    with contextlib.suppress(AttributeError):  # of another C library
        ctypes.CDLL(None).mallopt(_MOST_ARENAS, 1)


def alone(reader: Reader, cases: int, random: int) -> Count:
    """Try cases in this process, which must be able to end: with little memory to spare, and none may hang.

    Args:
        reader: of the table.
        cases: how many.
        random: seed.

    Returns:
        The counts. The case that was lost is in `FOUND`, under the reader's name.
    """
    FOUND.mkdir(parents=True, exist_ok=True)
    name = "".join(letter if letter.isalnum() else "_" for letter in reader.name)
    kept = FOUND / name
    os.environ["OUTPUTS"] = str(ROOM / name)
    ROOM.mkdir(exist_ok=True)
    faulthandler.enable()

    def note(content: bytes) -> None:
        kept.write_bytes(content)
        faulthandler.dump_traceback_later(_HANGS, exit=True)

    _reserve_little()
    check(reader, reader.valid()[0])
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + FILE_BYTES, hard))
    try:
        largest = [check(reader, content) for content in reader.largest() if note(content) is None]
    except Fault as error:
        return Count(reader.name, 1, 0, 0, (f"of the largest that are allowed, {error}",))
    found = fuzz(reader, cases - len(largest), random, note)
    read = sum(largest)
    count = found._replace(
        tried=found.tried + len(largest),
        accepted=found.accepted + read,
        refused=found.refused + len(largest) - read,
    )
    faulthandler.cancel_dump_traceback_later()
    if not count.lost:
        kept.unlink(missing_ok=True)
    return count


def main() -> int:
    """Run from the shell; the exit code is 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=int, nargs="?", default=100_000, help="how many, over all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--only", choices=[reader.name for reader in READERS], help="one reader, in this process")
    given = parser.parse_args()
    if given.only:
        reader = next(reader for reader in READERS if reader.name == given.only)
        sys.stdout.write(table([alone(reader, given.cases, given.seed)]) + "\n")
        return 0
    counts = fuzz_all(given.cases, given.seed, given.at_once, lambda count: sys.stderr.write(f"{count}\n"))
    sys.stdout.write(table(counts) + "\n")
    return 1 if any(each.lost for each in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
