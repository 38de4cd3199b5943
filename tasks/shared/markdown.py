"""Markdown for the stage reports, which both MLflow and the Prefect UI render."""

from collections.abc import Iterable, Sequence

from models.markdown import Markdown, escape
from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE


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


def document(title: str, sections: Iterable[tuple[str, str]], *, phantoms: bool) -> str:
    """Join sections under a title, with the notices first.

    Args:
        title: first-level heading.
        sections: pairs of heading, which is escaped, and body, which is Markdown.
        phantoms: whether the figures come from drawn phantoms, which is then said first.

    Returns:
        The document.
    """
    notices = f"> {RESEARCH_NOTICE}\n"
    if phantoms:
        notices += f">\n> **{PHANTOM_NOTICE}**\n"
    body = "".join(f"\n## {escape(heading)}\n\n{text.strip()}\n" for heading, text in sections)
    return f"# {escape(title)}\n\n{notices}{body}"


def _cell(value: object) -> Markdown:
    return escape(f"{value:.3f}" if isinstance(value, float) else value)
