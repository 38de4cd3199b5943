"""What a flow prints: tables and lines for a person, in which text from outside is shown and not obeyed.

Rich takes `[red]` and `[link=…]` in a string for markup, and hands escape sequences on to the terminal. So strings
reach it as `Text`, without control characters.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.text import one_line, printable, visible

Justify = Literal["left", "right"]


def print_table(
    columns: Sequence[tuple[str, Justify]], rows: Iterable[Sequence[object]], *, title: str, style: str = "italic"
) -> None:
    """Print a table.

    Args:
        columns: title and side of each column.
        rows: cells, as many a row as there are columns.
        title: stands above it; what is longer than a line is shortened.
        style: Rich's style of the title.
    """
    table = Table(title=Text(printable(title), style=style))
    for name, justify in columns:
        table.add_column(Text(one_line(name)), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    Console().print(table)


def print_line(line: str, style: str = "") -> None:
    """Print a line, which the terminal may wrap.

    Args:
        line: the text.
        style: Rich's style.
    """
    Console().print(Text(visible(line), style=style), soft_wrap=True)
