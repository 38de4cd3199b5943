"""Reading a file of reference reports: what someone else wrote of some of the test images."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.bounded_json import parse_json
from models.bounds import REFERENCES_BYTES
from models.errors import InputError
from models.text import printable

LONGEST_TEXT = 20_000
"""Characters of the longest reference."""

_KEYS = ("case", "image_sha256")
_COLUMNS = "case (position in the test split, from 0) or image_sha256, and reference"
_INDEX, _DIGEST = re.compile(r"\d{1,9}", re.ASCII), re.compile(r"[0-9a-f]{64}")


class Reference(BaseModel):
    """A reference report.

    Attributes:
        case: position of its image in the test split, or None where the image is named by its digest.
        image_sha256: SHA-256 of the image's pixels, or None.
        text: the report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: int | None
    image_sha256: str | None
    text: str


def read_references(path: Path, tests: int | None) -> tuple[Reference, ...]:
    """Read a file strictly: one fault anywhere refuses it.

    Args:
        path: CSV with a header, JSON (a list of objects) or JSON Lines, in UTF-8, by its ending: `.csv`, `.json` or
            `.jsonl`. Each entry has `case` or `image_sha256`, and `reference`, and nothing else.
        tests: images of the test split, or None where that is not known yet.

    Returns:
        The references, at least one, each of another image.

    Raises:
        InputError: the file cannot be read, or an entry is not as above, empty, too long or given twice.
    """
    entries = _entries(path)
    found: dict[tuple[int | None, str | None], int] = {}
    references: list[Reference] = []
    for place, entry in entries:
        reference = _reference(path, place, entry, tests)
        key = reference.case, reference.image_sha256
        if references and (reference.case is None) != (references[0].case is None):
            raise _refusal(path, f"entry {place} names its image in another way than entry 1", "use one of both")
        if key in found:
            raise _refusal(path, f"entry {place} is on the image of entry {found[key]} again", "keep one of them")
        found[key] = place
        references.append(reference)
    if not references:
        raise _refusal(path, "there is no reference in it", f"give entries with {_COLUMNS}")
    return tuple(references)


def _entries(path: Path) -> Iterator[tuple[int, Mapping[Any, Any]]]:
    readers = {".csv": _csv, ".json": _json, ".jsonl": _json_lines}
    if path.suffix.lower() not in readers:
        raise _refusal(path, "its ending is none of .csv, .json and .jsonl", "name it by what it holds")
    if path.exists() and not path.is_file():  # a pipe would wait for ever
        raise _refusal(path, "it is no file", "name one")
    try:
        with path.open("rb") as file:  # a file that grows while it is read is bounded, too
            content = file.read(REFERENCES_BYTES + 1)
    except OSError as error:
        raise _refusal(path, f"it cannot be read ({error.strerror})", "name a file that can") from error
    if len(content) > REFERENCES_BYTES:
        raise _refusal(path, f"it has more than {REFERENCES_BYTES // 2**20} MiB", "leave out what is no report")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(path, f"byte {error.start} is not UTF-8", "save it as UTF-8") from error
    for place, entry in enumerate(readers[path.suffix.lower()](path, text), start=1):
        if not isinstance(entry, Mapping):
            raise _refusal(path, f"entry {place} is no object", f"give each {_COLUMNS}")
        yield place, entry


def _csv(path: Path, text: str) -> Iterator[Mapping[Any, Any]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = rows.fieldnames or []
        if len(set(names)) < len(names):
            raise _refusal(path, "two columns of its header have the same name", f"use the columns {_COLUMNS}")
        for row in rows:
            if None in row or None in row.values():
                raise _refusal(path, f"line {rows.line_num} has not as many cells as the header", "quote the texts")
            yield {name: cell for name, cell in row.items() if cell or name not in _KEYS}  # one of both may be empty
    except csv.Error as error:
        raise _refusal(
            path, f"after line {rows.line_num} it is no CSV ({printable(error)})", "quote the texts"
        ) from error


def _json(path: Path, text: str) -> Iterable[Any]:
    content = _parsed(path, text, "it")
    if not isinstance(content, list):
        raise _refusal(path, "it holds no list", f"give a list of objects with {_COLUMNS}")
    return content


def _json_lines(path: Path, text: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _parsed(path, line, f"line {number}")


def _parsed(path: Path, text: str, what: str) -> Any:
    try:
        return parse_json(text, REFERENCES_BYTES)
    except ValueError as error:
        raise _refusal(path, f"{what} is no JSON ({printable(error, 60)})", "mend or export it again") from error


def _reference(path: Path, place: int, entry: Mapping[Any, Any], tests: int | None) -> Reference:
    keys = [key for key in _KEYS if key in entry]
    if len(keys) != 1 or set(entry) != {*keys, "reference"}:
        raise _refusal(path, f"entry {place} has {printable(', '.join(map(str, entry)), 60)}", f"give {_COLUMNS}")
    text = entry["reference"]
    if not isinstance(text, str) or not text.strip():
        raise _refusal(path, f"the reference of entry {place} is empty or no text", "fill it in or leave it out")
    if len(text) > LONGEST_TEXT:
        raise _refusal(path, f"the reference of entry {place} has more than {LONGEST_TEXT:,} characters", "shorten it")
    if keys == ["case"]:
        case = _index(entry["case"])
        if case is None or (tests is not None and case >= tests):
            last = "" if tests is None else f" to {tests - 1}"
            raise _refusal(
                path, f"entry {place} is on case {printable(entry['case'], 40)}", f"count the test images from 0{last}"
            )
        return Reference(case=case, image_sha256=None, text=text)
    digest = str(entry["image_sha256"]).lower()
    if not _DIGEST.fullmatch(digest):
        raise _refusal(path, f"the image_sha256 of entry {place} is no SHA-256", "give 64 hexadecimal digits")
    return Reference(case=None, image_sha256=digest, text=text)


def _index(value: object) -> int | None:
    if isinstance(value, str) and _INDEX.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _refusal(path: Path, fault: str, remedy: str) -> InputError:
    return InputError(f"--reports.references {printable(path, 80)}: {fault}; {remedy}.")
