"""The gallery of one search: the query beside the cases that were found."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from numpy.typing import NDArray
from PIL import Image

from tasks.retrieval.search_result import UNLABELLED, SearchResult, describe_shares
from tasks.shared.figures import (
    BAD,
    GOOD,
    MOST_COLUMNS,
    MUTED,
    SMALL,
    TITLE,
    Sheet,
    Source,
    caption_height,
    caption_letters,
    cell_width,
    class_colors,
    column_edge,
    frames,
    render_png,
    short_name,
)

_LEFT = 2  # columns of the query's panel
_BESIDE = 3  # rows of cases beside it; further ones take all columns
_MOST_TEXT = 600  # characters of a text query that are shown
_SHARP = 450  # pixels of an original that the panel can show
_CELL = cell_width(MOST_COLUMNS)
_PANEL = column_edge(_LEFT, MOST_COLUMNS) - 3 * column_edge(0, MOST_COLUMNS)  # inches, its width
_ROW = _CELL + 0.07 + caption_height(["\n"])


def search_gallery(
    result: SearchResult,
    images: NDArray[np.uint8],
    *,
    query_image: NDArray[np.uint8] | None,
    original: NDArray[np.uint8] | None = None,
) -> bytes:
    """Show a query and what was found, nearest first, framed in the colour of its class.

    Where the query's own class is known, a mark says of each case whether it has it.

    Args:
        result: what was found; it says whether the data are drawn phantoms.
        images: the found images, shape (hits, height, width), 0–255.
        query_image: what was embedded, shape (height, width); None for a text.
        original: the picture of an image file before it was cropped and resized, any shape (height, width); None
            shows `query_image` alone.

    Returns:
        PNG bytes.
    """
    colors = _colors(result)
    lines, size = ([], SMALL) if query_image is not None else _fitting(result.query.name)
    if query_image is None:
        panel = 0.3 + len(lines) * 1.3 * size / 72
    else:
        panel = _PANEL + caption_height(["\n\n"]) + (0 if original is None else _ROW + 0.1)
    beside = min(_BESIDE, -(-len(images) // (MOST_COLUMNS - _LEFT)))
    upper = max(beside * _ROW, panel)
    below = max(0, len(images) - _BESIDE * (MOST_COLUMNS - _LEFT))
    sheet = Sheet(upper + _ROW * -(-below // MOST_COLUMNS))
    edge = column_edge(0, MOST_COLUMNS)
    if query_image is None:
        sheet.text(edge, 0.03, "query text", color=MUTED)
        sheet.text(edge, 0.25, "\n".join(lines), fontsize=size, linespacing=1.25)
    else:
        y = _draw_query(sheet, result, query_image if original is None else original)
        if original is not None:
            sheet.image(query_image, edge, y, _CELL, frame=_query_color(result))
            size_text = " × ".join(map(str, query_image.shape[:2]))
            sheet.text(edge, y + _CELL + 0.05, f"as compared: the middle, {size_text} pixels")
    for place, (hit, image) in enumerate(zip(result.hits, images, strict=True)):
        x, y = _place(place, upper)
        sheet.image(image, x, y, _CELL, frame=MUTED if hit.label is None else colors[hit.label])
        title = short_name(hit.title, caption_letters(_CELL) - len(f"{hit.rank}. "))
        name = short_name(result.label_of(hit), caption_letters(_CELL) - 6)
        sheet.text(x, y + _CELL + 0.05, f"{hit.rank}. {title}\n{name} {hit.closeness}")
        if result.query.label is not None and hit.label is not None:
            _draw_mark(sheet.axis, x + _CELL - 0.13, y + 0.13, hit.label == result.query.label)
    line = column_edge(_LEFT, MOST_COLUMNS) - edge
    sheet.axis.plot([line, line], [0.03, upper - 0.1], color=MUTED, lw=0.6, alpha=0.6)
    name, scope, found, index = _words(result)
    return render_png(
        sheet.figure,
        Source(result.index.dataset, f"encoder {result.encoder}", result.phantoms),
        title=f"Nearest cases to {name}",
        shown=" · ".join((f"among {scope}", found.rstrip("."), index.rstrip("."))),
        legend=_legend(result),
    )


def _place(place: int, upper: float) -> tuple[float, float]:
    """Return the upper left corner of a case: beside the query's panel, then below it."""
    beside = MOST_COLUMNS - _LEFT
    if place < _BESIDE * beside:
        row, column = divmod(place, beside)
        return column_edge(column + _LEFT, MOST_COLUMNS), 0.03 + row * _ROW
    row, column = divmod(place - _BESIDE * beside, MOST_COLUMNS)
    return column_edge(column, MOST_COLUMNS), upper + 0.03 + row * _ROW


def _colors(result: SearchResult) -> Sequence[str]:
    return class_colors(len(result.class_names))


def _words(result: SearchResult) -> tuple[str, str, str, str]:
    name = short_name(result.query.name, 40)
    name = f"“{name}”" if result.query.kind == "text" else name
    scope = " + ".join(result.splits) + ("" if result.label is None else f", {result.class_names[result.label]} only")
    return name, scope, describe_shares(result), str(result.index)


def _query_color(result: SearchResult) -> str:
    return MUTED if result.query.label is None else _colors(result)[result.query.label]


def _draw_query(sheet: Sheet, result: SearchResult, image: NDArray[np.uint8]) -> float:
    """Draw the query's image; return where what follows it may begin."""
    picture = Image.fromarray(image)
    picture.thumbnail((_SHARP, _SHARP), reducing_gap=2)
    shown, edge = np.asarray(picture), column_edge(0, MOST_COLUMNS)
    sheet.image(shown, edge, 0.03, _PANEL, frame=_query_color(result))
    known = "label not known" if result.query.label is None else result.class_names[result.query.label]
    bottom = 0.03 + _PANEL * shown.shape[0] / max(shown.shape[:2])
    sheet.text(edge, bottom + 0.05, f"query: {short_name(result.query.name, caption_letters(_PANEL) - 7)}\n{known}")
    return bottom + 0.1 + caption_height(["\n"])


def _fitting(text: str) -> tuple[list[str], float]:
    """Wrap a text for the panel, in the largest letters that leave it no higher than the cases beside it."""
    shown = text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} …"
    # Dollar signs would be read as mathematics here. Some lines are wider than their number of letters says.
    letter = max(0.3, 1.1 * TextPath((0, 0), shown.replace("$", "S"), size=1).get_extents().width / len(shown))
    lines: list[str] = []
    for size in (TITLE, TITLE - 1.5, SMALL):
        lines = textwrap.wrap(shown, int(_PANEL * 72 / (letter * size)))
        if len(lines) * 1.3 * size < 2 * _ROW * 72:
            break
    return lines, size


def _draw_mark(axis: Any, x: float, y: float, same: bool) -> None:
    axis.text(
        x, y, "✓" if same else "✗", fontsize=SMALL, color="white", ha="center", va="center", weight="bold",
        bbox={"boxstyle": "circle,pad=0.2", "facecolor": GOOD if same else BAD, "edgecolor": "white", "lw": 0.6},
    )  # fmt: skip


def _legend(result: SearchResult) -> list[Patch | Line2D]:
    framed = frames(_colors(result), result.class_names)
    if any(hit.label is None for hit in result.hits):
        framed += frames([MUTED], [UNLABELLED])
    if result.query.label is None:
        return framed
    marks = [
        Line2D([], [], linestyle="", marker="o", markersize=6, color=color, label=f"{sign} {meaning}")
        for sign, color, meaning in (("✓", GOOD, "the query's label"), ("✗", BAD, "another label"))
    ]
    return [*framed, *marks]
