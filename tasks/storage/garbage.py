"""Garbage collection: what the folder of products holds that nothing needs any more.

Results and rows that were kept leave by age, counted from when they were last written or used. The content of the
store leaves once nothing names it: every file that stays is searched for names of content, and the content that it
names for further ones (mark and sweep). Any text of the form of such a name is taken for one, so that no kind of record
has to be known here, and too much is kept rather than too little. With the last result of a step goes the note by which
its runs are compared, and with a result its lock file.

What people made or changed is never among it: published indices and added pictures, lists of handled files, pages of
cases, searches, and all that MLflow and Prefect hold.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

DAY = 86_400.0
YOUNGEST_DAYS = 7.0
"""Content that nothing names is kept this long after it was written: a run under way may be about to name it."""

_CONTENT = re.compile(rb"sha256/[0-9a-f]{2}/[0-9a-f]{64}\.[a-z]+")
_NAMES_OTHERS = {".json", ".ndjson"}  # content that may name other content
_LOCK = re.compile(r"(.+)-([0-9a-f]{64})\.lock")
_AGEING = ("jobs", "cases", "checkpoints", "ledger")  # folders of the store: rows, judged pictures, trainings, outcomes


@dataclass(frozen=True)
class Leftover:
    """A file that nothing needs.

    Attributes:
        kind: `results`, `content`, `temporary files`, `locks` or the folder of the store.
        path: where it is.
        size: bytes.
    """

    kind: str
    path: Path
    size: int


@dataclass(frozen=True)
class _File:
    path: Path
    name: str  # below its root
    size: int
    modified: float


def find_leftovers(
    store: Path,
    results: Path,
    used: Mapping[str, float],
    days: float,
    now: float | None = None,
    locks: Path | None = None,
) -> list[Leftover]:
    """Find what can be removed; nothing is changed.

    Args:
        store: root of the store.
        results: root of the results of steps.
        used: Unix time of the last use by key of a result.
        days: age from which unused results and rows leave, above 0.
        now: Unix time that counts as now; None takes the clock.
        locks: folder of the lock files, of which those leave whose results are not there; None looks at none.

    Returns:
        The files, in the order in which they may be removed: results before content, so that a removal that is
        interrupted leaves no result that names what is gone.

    Raises:
        OSError: a folder or file cannot be read. What it names is unknown then.
    """
    moment = time.time() if now is None else now
    files, kept = list(_files(store)), []
    leftovers: list[Leftover] = []
    for file in _files(results):
        unused = max(file.modified, used.get(file.name, 0)) < moment - days * DAY
        if unused or (file.size == 0 and file.modified < moment - DAY):
            leftovers.append(Leftover("results", file.path, file.size))
        else:
            kept.append(file)
    left = {file.name for file in kept}
    steps = {name.split("/")[0] for name in left}
    newest: dict[str, float] = {}
    for file in files:
        newest[_unit(file.name)] = max(newest.get(_unit(file.name), 0), file.modified)
    for file in files:
        kind = file.name.split("/")[0]
        if file.name.endswith(".tmp"):
            if file.modified < moment - DAY:
                leftovers.append(Leftover("temporary files", file.path, file.size))
        elif newest[_unit(file.name)] < moment - days * DAY and (
            kind in _AGEING or (kind == "keys" and Path(file.name).stem not in steps)
        ):
            leftovers.append(Leftover(kind, file.path, file.size))
        elif kind not in {"sha256", "ledger"}:  # outcomes name no content
            kept.append(file)
    content = {file.name: file for file in files if file.name.startswith("sha256/")}
    oldest = moment - YOUNGEST_DAYS * DAY
    young = [file for file in content.values() if file.modified >= oldest]
    marked = _mark([*kept, *young], content)
    leftovers += [
        Leftover("content", file.path, file.size)
        for file in content.values()
        if file.name not in marked and file.modified < oldest and not file.name.endswith(".tmp")
    ]
    for file in _files(locks) if locks else ():
        of_result = _LOCK.fullmatch(file.name)
        if of_result and "/".join(of_result.groups()) not in left and file.modified < moment - DAY:
            leftovers.append(Leftover("locks", file.path, file.size))
    return leftovers


def find_beyond(
    most: float, store: Path, results: Path, used: Mapping[str, float], days: float, **others: Any
) -> tuple[float, list[Leftover]]:
    """Find what can be removed so that no more than some bytes stay: what was used longest ago leaves first.

    Args:
        most: bytes of store and results.
        store: root of the store.
        results: root of the results of steps.
        used: Unix time of the last use by key of a result.
        days: age from which unused results leave in any case.
        others: those of `find_leftovers`.

    Returns:
        The age that was taken, between `YOUNGEST_DAYS` and `days`; the files. More may stay than was asked for, since
        nothing younger leaves.
    """
    total = sum(file.size for root in (store, results) for file in _files(root))

    def fits(found: list[Leftover]) -> bool:
        return total - sum(each.size for each in found) <= most

    enough = find_leftovers(store, results, used, days, **others)
    if fits(enough) or days <= YOUNGEST_DAYS:
        return days, enough
    oldest, youngest = days, YOUNGEST_DAYS
    enough = find_leftovers(store, results, used, youngest, **others)
    while fits(enough) and oldest - youngest > 1:  # a day more or less does not count
        middle = (oldest + youngest) / 2
        found = find_leftovers(store, results, used, middle, **others)
        if fits(found):
            youngest, enough = middle, found
        else:
            oldest = middle
    return youngest, enough


def remove(leftovers: Iterable[Leftover]) -> int:
    """Remove files, and the folders that become empty.

    Returns:
        Bytes that were freed.

    Raises:
        OSError: a file cannot be removed; those before it are gone.
    """
    freed = 0
    for each in leftovers:
        if each.kind == "locks":
            with contextlib.suppress(Timeout), FileLock(each.path, timeout=0):  # one that is held stays
                each.path.unlink(missing_ok=True)
            continue
        each.path.unlink(missing_ok=True)
        freed += each.size
        for folder in each.path.parents[:2]:
            if any(folder.iterdir()):
                break
            folder.rmdir()
    return freed


def _unit(name: str) -> str:
    """Name what ages as a whole: a job with its shards, the outcomes of a flow run, the checkpoints of a training."""
    parts = name.split("/")
    return "/".join(parts[:3] if parts[0] == "checkpoints" else parts[:2])


def _mark(roots: Iterable[_File], content: Mapping[str, _File]) -> set[str]:
    marked: set[str] = set()
    waiting = list(roots)
    while waiting:
        file = waiting.pop()
        if file.name.startswith("sha256/") and file.path.suffix not in _NAMES_OTHERS:
            continue
        try:
            text = file.path.read_bytes()
        except FileNotFoundError:  # a run replaced it
            continue
        for found in {name.decode() for name in _CONTENT.findall(text)} - marked:
            marked.add(found)
            if found in content:
                waiting.append(content[found])
    return marked


def _files(root: Path) -> Iterator[_File]:
    if not root.is_dir():
        return
    for folder, _, names in os.walk(root, onerror=_refuse):
        for name in names:
            path = Path(folder, name)
            try:
                about = path.stat()
            except FileNotFoundError:  # a run removed it
                continue
            yield _File(path, path.relative_to(root).as_posix(), about.st_size, about.st_mtime)


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
