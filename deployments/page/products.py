"""What the flow `cases` has written, read-only: which runs there are, what they found, and their files."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from tasks.cases.case import CONCERNS, Case, Concern

INDEX = "index.html"
_TABLE = "cases.json"
_MOST_TABLE_BYTES = 200_000_000
_FILE = re.compile(r"(?:(?:fhir|dicom)/)?[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".dcm": "application/dicom",
}
"""The files that are given out, by suffix, with what they are."""
SHOWN = frozenset({".html", ".png"})
"""Suffixes of what a browser may show; all else it is to save."""
_DOWNLOADS = ("cases.csv", "cases.parquet", _TABLE)
_POLICY = re.compile(rb'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
_HASHES = re.compile(r"'sha(?:256|384|512)-[A-Za-z0-9+/=_-]+'")
_HEAD_BYTES = 4096
_CASES: TypeAdapter[list[Case]] = TypeAdapter(list[Case])


@dataclass(frozen=True)
class Results:
    """What a run has written.

    Attributes:
        run: id of the flow run.
        when: it was done.
        concerns: how many pictures there are of each concern, the most urgent first; None where the table cannot be
            read.
        page: the file to show first: the page of the one case there is, else the index.
        files: others, to be saved.
    """

    run: UUID
    when: datetime
    concerns: Mapping[Concern, int] | None
    page: str
    files: tuple[str, ...]

    @property
    def found(self) -> str:
        """How many pictures there are, and of which concern, in words."""
        if self.concerns is None:
            return "pictures that another version has looked at"
        words = {name: "without concern" if name == "none" else name for name in self.concerns}
        count = sum(self.concerns.values())
        if count == 1:
            return f"1 picture, {words[next(iter(words))]}"
        return f"{count} pictures: {', '.join(f'{self.concerns[name]} {words[name]}' for name in words)}".rstrip(": ")


def results(folder: Path, run: UUID) -> Results | None:
    """Return what a run has written.

    Args:
        folder: of all runs, `outputs/cases`.
        run: id of the flow run.

    Returns:
        What there is; None where the run has written nothing, or not all yet.
    """
    place = folder / str(run)
    try:
        status = (place / _TABLE).stat()
    except OSError:
        return None
    if not (place / INDEX).is_file():
        return None
    cases = _read(place / _TABLE, status.st_mtime_ns, status.st_size)
    page, files = INDEX, [name for name in _DOWNLOADS if (place / name).is_file()]
    if cases is not None and len(cases.names) == 1:
        (name,) = cases.names
        page = f"{name}.html" if (place / f"{name}.html").is_file() else INDEX
        own = (f"fhir/{name}.json", f"dicom/{name}-report.dcm", f"dicom/{name}-capture.dcm")
        files += [each for each in own if (place / each).is_file()]
    when = datetime.fromtimestamp(status.st_mtime, UTC)
    return Results(run, when, cases.concerns if cases else None, page, tuple(files))


def newest(folder: Path, most: int) -> list[Results]:
    """Return what the last runs have written.

    Args:
        folder: of all runs, `outputs/cases`.
        most: how many.

    Returns:
        Results, newest first.
    """
    found = []
    for place in sorted(folder.glob("*/"), key=_modified, reverse=True):
        try:
            run = UUID(place.name)
        except ValueError:
            continue
        if (result := results(folder, run)) is not None:
            found.append(result)
        if len(found) == most:
            break
    return found


def product(folder: Path, run: UUID, name: str) -> Path | None:
    """Find a file of a run.

    Args:
        folder: of all runs, `outputs/cases`.
        run: id of the flow run.
        name: its path within the run's folder.

    Returns:
        The file; None where there is none, or it is not one to be given out.
    """
    if not _FILE.fullmatch(name):
        return None
    place = folder / str(run)
    path = place / name
    inside = path.resolve().is_relative_to(place.resolve())  # no link leads out
    return path if path.suffix in TYPES and inside and path.is_file() else None


def policy(page: Path) -> str:
    """Return the content security policy that a page of a run is served with.

    A page says its own within it. The header says at least as much, and allows those scripts that the page names by
    their hash; what only a header can say is who may frame it.

    Args:
        page: HTML.

    Returns:
        The policy.
    """
    with page.open("rb") as file:
        own = _POLICY.search(file.read(_HEAD_BYTES))
    hashes = (
        _HASHES.findall(own[1].decode("ascii", "replace").partition("script-src")[2].partition(";")[0]) if own else []
    )
    scripts = f" script-src {' '.join(hashes)};" if hashes else ""
    return (
        f"default-src 'none';{scripts} img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )


@dataclass(frozen=True)
class _Table:
    names: tuple[str, ...]
    concerns: dict[Concern, int]


@lru_cache(maxsize=64)
def _read(path: Path, modified: int, size: int) -> _Table | None:
    """Read a table once for each of its versions."""
    if size > _MOST_TABLE_BYTES:
        return None
    try:
        cases = _CASES.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    counts = Counter(case.concern for case in cases)
    return _Table(tuple(case.short_name for case in cases), {name: counts[name] for name in CONCERNS if counts[name]})


def _modified(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return 0.0
