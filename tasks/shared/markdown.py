"""Markdown for the stage reports, which both MLflow and the Prefect UI render."""

import re
from collections.abc import Callable, Iterable, Sequence

from models.markdown import Markdown, escape
from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE

LONG = 15
"""Rows of a table that is long: a section with a longer one stands behind those without."""
_FIGURE = re.compile(r"^!\[([^\n]*)\]\(figures/(\w+)\.png\)\n\n\*[^\n]*\*\n\n?", re.MULTILINE)
_BESIDE = re.compile(r"((?<!\\)\])\(((?:[\w-]+/)*[\w-]+\.html)\)")
_ROWS = re.compile(r"(?:^\|.*\n?)+", re.MULTILINE)


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
