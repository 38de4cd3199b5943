"""Text that would do something wherever it were obeyed, and where it is looked for: files, databases, logs, pages.

A field that comes from outside is given `text(field)`; after a whole run, nothing that the run has written may hold it
but written out, and no document may show more of it than words.
"""

import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt

MARK = "Zqx7"
"""Begins each canary."""
ELSEWHERE = "evil.invalid"
STEERING = "\x1b[31m\u202e\u200b\x07"
"""Colours a terminal, turns a line round, hides in it, rings."""
_OBEYED = (
    f"{STEERING}[red]r[/red][link=http:]<img src=x onerror=alert(1)><script>alert(2)<~script>![i](http:~~{ELSEWHERE})"
    f"[l](javascript:alert(3))|c|`c`**b**&lt;b"
)
_RAW = [mark.encode() for mark in ("\x1b[31m", "\u202e", "\u200b", "\u2028")]  # a single byte is in any binary file
_AFTER = 400  # bytes after a mark in which the rest of it stands
_SQLITE = b"SQLite format 3\0"
_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def name_of_file(field: str, suffix: str) -> str:
    """Return a name that a file can have."""
    return f"{MARK}{field}{_OBEYED.replace('~', '').replace('/', '')}{suffix}"


def text(field: str, length: int = 10_000) -> str:
    """Return text of several lines.

    Args:
        field: what it is put into, by letters alone.
        length: characters of its tail.
    """
    return f"{MARK}{field}{_OBEYED.replace('~', '/')}\u2028\r\n# h\n{'A' * length}"


def fields(places: Iterable[Path]) -> set[str]:
    """Return the fields whose canaries were written anywhere: a search that finds none looks in the wrong place."""
    found = re.compile(rf"{MARK}([a-z]+)".encode())
    return {name.decode() for _, content in _contents(places) for name in found.findall(content)}


def holding(places: Iterable[Path], words: Iterable[str]) -> list[str]:
    """Find where one of some words stands: a secret, that is nowhere."""
    sought = [word.encode() for word in words]
    return [f"{path}: {word!r}" for path, content in _contents(places) for word in sought if word in content]


def raw(places: Iterable[Path]) -> list[str]:
    """Find what was written as it came: characters that steer a display.

    Returns:
        A file and what stands there, each.
    """
    found = []
    for place, content in _contents(places):
        for match in re.finditer(MARK.encode(), content):
            rest = content[match.start() : match.start() + _AFTER].split(MARK.encode())[1]
            if any(mark in rest for mark in _RAW):
                found.append(f"{place}: {rest[:80]!r}")
    return found


def long(places: Iterable[Path], most: int = 100) -> list[str]:
    """Find where more of a text stands than is shown of one."""
    tail = b"A" * (most + 1)
    return [f"{place}" for place, content in _contents(places) if tail in content]


def obeyed_pages(places: Iterable[Path], documents: Iterable[str] = ()) -> list[str]:
    """Find what became markup: elements, links and attributes of a canary in HTML and in Markdown.

    Args:
        places: files, and folders, whose HTML and Markdown files are read.
        documents: Markdown besides, of artifacts for instance.
    """
    files = {path: path.read_text(encoding="utf-8") for path in _files(places) if path.suffix in (".html", ".md")}
    pages = {str(path): body if path.suffix == ".html" else _MARKDOWN.render(body) for path, body in files.items()}
    pages |= {f"document {place}": _MARKDOWN.render(body) for place, body in enumerate(documents)}
    return [f"{name}: {said}" for name, page in pages.items() for said in _obeyed(page)]


def _obeyed(page: str) -> list[str]:
    found: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            for name, value in attrs:
                if name.startswith("on") or (name in ("src", "href") and _leads_away(value or "")):
                    found.append(f"<{tag} {name}={value!r}>")

    Tags().feed(page)
    return found


def _leads_away(address: str) -> bool:
    return address == "x" or ELSEWHERE in address or address.strip().lower().startswith("javascript:")


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield from (path for path in sorted([place, *place.rglob("*")]) if path.is_file())


def _contents(places: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Read all files; those of a database with what lies in its pages, those of a picture with its text inflated."""
    for path in _files(places):
        content = path.read_bytes()
        yield path, content
        if content.startswith(_SQLITE):
            yield path, b"\n".join(_cells(path))
        elif content.startswith(b"\x89PNG"):
            yield path, b"\n".join(_texts_of_png(content))


def _cells(database: Path) -> Iterator[bytes]:
    """Read every cell of a database: a long one is split over its pages."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    connection.text_factory = bytes
    try:
        tables = [name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield from (cell for cell in row if isinstance(cell, bytes))
    finally:
        connection.close()


def _texts_of_png(content: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        chunk = content[at + 8 : at + 8 + size]
        if kind == b"tEXt":
            yield chunk
        elif kind == b"zTXt":
            yield zlib.decompress(chunk.partition(b"\0")[2][1:])
        elif kind == b"iTXt":
            rest = chunk.partition(b"\0")[2]
            words = rest[2:].split(b"\0", 2)[2]
            yield zlib.decompress(words) if rest[0] else words
        at += size + 12
