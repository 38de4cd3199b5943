"""Markdown for the stage reports, which both MLflow and the Prefect UI render."""

import html
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from models.markdown import Markdown, escape
from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE

LONG = 15
"""Rows of a table that is long: a section with a longer one stands behind those without."""
FOLDED = 8
"""Rows of a table that is folded where it has more: what is long is opened by whom it concerns."""
_FIGURE = re.compile(r"^!\[([^\n]*)\]\(figures/(\w+)\.png\)\n(?:\n\*[^\n]*\*\n)?\n?", re.MULTILINE)
_BESIDE = re.compile(r"((?<!\\)\])\(((?:[\w-]+/)*[\w-]+\.html)\)")
_ROWS = re.compile(r"(?:^\|.*\n?)+", re.MULTILINE)
_ESCAPED = re.compile(r"\\([^\sA-Za-z0-9])")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a pipe table.

    Args:
        header: column titles.
        rows: cells, as many per row as there are titles; floats are shown with three decimals. All but `Markdown` is
            escaped, titles too.

    Returns:
        The table, ending in a newline.
    """
    lines: list[list[str]] = [[_cell(title) for title in header], ["---"] * len(header)]
    lines += [[_cell(value) for value in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def picture(name: str, caption: str) -> str:
    """Put a figure into a section, where it belongs, with its caption below it.

    Args:
        name: of the figure, whose file is beside the document at `figures/<name>.png`.
        caption: one sentence: what is seen and what it means.

    Returns:
        Markdown, ending in an empty line. A figure that turns out not to be drawn is taken out by `place_pictures`.
    """
    return f"![{escape(name.replace('_', ' '))}](figures/{name}.png)\n\n*{escape(caption)}*\n\n"


def place_pictures(text: str, address: Callable[[str], str | None]) -> str:
    """Give the figures of a document the addresses at which they are found.

    Args:
        text: the document.
        address: gives the address of the figure of a name; None for one that is not shown, which is taken out with its
            caption.

    Returns:
        The document.
    """

    def placed(found: re.Match[str]) -> str:
        at = address(found[2])
        return "" if at is None else found[0].replace(f"(figures/{found[2]}.png)", f"({at})", 1)

    return _FIGURE.sub(placed, text)


def figures_of(text: str) -> dict[str, str]:
    """Return the figures that a document has a place for: each with its caption, by name and in their order."""
    return {found[2]: found[0].strip() for found in _FIGURE.finditer(text)}


class Parts(NamedTuple):
    """A document in parts.

    Attributes:
        head: title and notices.
        figures: those that were taken out of the sections to stand first, each with its caption.
        sections: each with its heading.
    """

    head: str
    figures: tuple[str, ...]
    sections: tuple[str, ...]


def divide(text: str, figures: Sequence[str]) -> Parts:
    """Divide a document, so that some of its figures and what is said first can stand before its sections.

    Args:
        text: the document.
        figures: names of the figures that are to stand first; one that the document has no place for has no caption.

    Returns:
        The parts. A section that held nothing but such a figure is left out.
    """
    captions = figures_of(text)
    first = [captions.get(name, f"![{escape(name.replace('_', ' '))}](figures/{name}.png)") for name in figures]
    text = _FIGURE.sub(lambda found: "" if found[2] in figures else found[0], text)
    head, *sections = text.split("\n## ")
    kept = [section.strip() for section in sections if "\n" in section.strip()]
    return Parts(head.rstrip(), tuple(first), tuple(f"## {section}" for section in kept))


def join(parts: Iterable[str]) -> str:
    """Put paragraphs, lists, figures and sections one below the other, without those that are empty."""
    return "\n\n".join(filter(None, map(str.strip, parts))) + "\n"


def fold(text: str) -> str:
    """Fold the tables of more than `FOLDED` rows, for a page that renders HTML within Markdown, as Prefect's does.

    Args:
        text: Markdown whose tables are `table`'s.

    Returns:
        The same with each such table in `<details>`, whose title names its columns.
    """

    def folded(found: re.Match[str]) -> str:
        head, *lines = found[0].strip().split("\n")
        rows = lines[1:]  # below the dashes
        if len(rows) <= FOLDED:
            return found[0]
        columns = [_ESCAPED.sub(r"\1", html.unescape(title)) for title in re.split(r"(?<!\\)\|", head)[1:-1]]
        title = html.escape(folded_title(columns, len(rows)))
        return f"<details><summary>{title}</summary>\n\n{found[0].strip()}\n\n</details>\n\n"

    return _ROWS.sub(folded, text)


def folded_title(columns: Sequence[str], rows: int) -> str:
    """Say what a folded table holds.

    Args:
        columns: their titles, in plain text.
        rows: how many there are.
    """
    return f"{rows} rows: {', '.join(filter(None, map(str.strip, columns)))}"


def place_links(text: str, address: Callable[[str], str]) -> str:
    """Give the links to files beside a document the addresses at which they are found.

    Args:
        text: the document.
        address: gives the address of the file of a path.

    Returns:
        The document.
    """
    return _BESIDE.sub(lambda found: f"{found[1]}({address(found[2])})", text)


def document(title: str, sections: Iterable[tuple[str, str]], *, phantoms: bool) -> str:
    """Join sections under a title, with the notices first and the long tables last.

    Args:
        title: first-level heading.
        sections: pairs of heading, which is escaped, and body, which is Markdown. Those with a table of more than
            `LONG` rows come last, in their order.
        phantoms: whether the figures come from drawn phantoms, which is then said first.

    Returns:
        The document.
    """
    notices = f"> {RESEARCH_NOTICE}\n"
    if phantoms:
        notices += f">\n> **{PHANTOM_NOTICE}**\n"
    ordered = sorted(sections, key=lambda section: _is_long(section[1]))
    body = "".join(f"\n## {escape(heading)}\n\n{text.strip()}\n" for heading, text in ordered)
    return f"# {escape(title)}\n\n{notices}{body}"


def _is_long(text: str) -> bool:
    return any(found[0].count("\n") - 2 > LONG for found in _ROWS.finditer(f"{text}\n"))


def _cell(value: object) -> Markdown:
    return escape(f"{value:.3f}" if isinstance(value, float) else value)
