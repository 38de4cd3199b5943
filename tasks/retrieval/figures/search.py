"""The gallery of one search: the query beside the cases that were found."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.textpath import TextPath
from numpy.typing import NDArray
from PIL import Image

from tasks.retrieval.search_result import SearchResult, describe_shares
from tasks.shared.figures import BAD, GOOD, MUTED, class_colors, new_figure, render_png, short_name

_CELL = 1.25  # inches, of a case; all other lengths are counted in cells
_GAP = 0.1
_CAPTION = 0.42
_MOST_TEXT = 600  # characters of a text query that are shown
_SHARP = 400  # pixels of an original that the panel can show


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
    hits = len(images)
    side = 1.0 if query_image is not None and original is None and hits <= 5 else 2.0  # of the query
    columns = _columns(hits, one_row=original is None)
    rows = -(-hits // columns)
    left = side + 3 * _GAP + (0 if original is None else 1 + _GAP)  # of the cases
    width = max(left + columns * (1 + _GAP), 4.6)
    height = max(rows * (1 + _CAPTION), 0 if query_image is None else side + _CAPTION)

    title = [line for text in _titles(result) for line in textwrap.wrap(text, int(_CELL * width * 72 / 5.6))]
    figure = new_figure(_CELL * width, _CELL * height + 0.65 + 0.17 * len(title))
    figure.suptitle("\n".join(title), fontsize=10, parse_math=False)
    axis = figure.subplots()
    if query_image is None:
        _draw_text(axis, result.query.name, side, height)
    else:
        _draw_query(axis, result, query_image if original is None else original, side)
    if query_image is not None and original is not None:
        _draw_image(axis, query_image, side + _GAP, 0, 1, _query_color(result))
        caption = f"as compared: the middle,\n{' × '.join(map(str, query_image.shape[:2]))} pixels"
        axis.text(side + _GAP, 1.06, caption, fontsize=6.8, va="top")
    for place, (hit, image) in enumerate(zip(result.hits, images, strict=True)):
        x, y = left + place % columns * (1 + _GAP), place // columns * (1 + _CAPTION)
        _draw_image(axis, image, x, y, 1, _colors(result)[hit.label])
        caption = f"{hit.rank}.  {hit.split} #{hit.index}\n{result.class_names[hit.label]}  {hit.similarity:.3f}"
        axis.text(x, y + 1.06, caption, fontsize=6.8, va="top")
        if result.query.label is not None:
            _draw_mark(axis, x + 0.89, y + 0.11, hit.label == result.query.label)
    axis.plot([left - 1.5 * _GAP] * 2, [0, height - 0.1], color=MUTED, lw=0.6, alpha=0.6)
    axis.set(xlim=(-0.03, width), ylim=(height, -0.03), aspect="equal")
    axis.axis("off")
    figure.legend(
        handles=_legend(result), loc="outside lower center", ncols=4, fontsize=7.5, frameon=False, borderaxespad=2.2
    )
    return render_png(figure, phantoms=result.phantoms)


def _colors(result: SearchResult) -> Sequence[str]:
    return class_colors(len(result.class_names))


def _titles(result: SearchResult) -> tuple[str, str, str]:
    name = short_name(result.query.name, 40)
    name = f"“{name}”" if result.query.kind == "text" else name
    scope = " + ".join(result.splits) + ("" if result.label is None else f", {result.class_names[result.label]} only")
    return (
        f"Nearest cases to {name} by the {result.encoder} encoder (searched: {scope})",
        describe_shares(result),
        str(result.index),
    )


def _columns(hits: int, *, one_row: bool) -> int:
    if hits <= 5 and one_row:
        return hits
    return -(-hits // 2) if hits <= 10 else min(10, math.ceil(math.sqrt(2 * hits)))


def _query_color(result: SearchResult) -> str:
    return MUTED if result.query.label is None else _colors(result)[result.query.label]


def _draw_query(axis: Axes, result: SearchResult, image: NDArray[np.uint8], side: float) -> None:
    picture = Image.fromarray(image)
    picture.thumbnail((_SHARP, _SHARP), reducing_gap=2)
    shown = np.asarray(picture)
    _draw_image(axis, shown, 0, 0, side, _query_color(result))
    known = "label not known" if result.query.label is None else result.class_names[result.query.label]
    caption = f"query: {short_name(result.query.name, int(17 * side))}\n{known}"
    bottom = side * shown.shape[0] / max(shown.shape[:2])
    axis.text(0, bottom + 0.06, caption, fontsize=6.8, va="top", parse_math=False)


def _draw_text(axis: Axes, text: str, side: float, height: float) -> None:
    shown = text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} …"
    # Dollar signs would be read as mathematics here. Some lines are wider than their number of letters says.
    letter = max(0.3, 1.1 * TextPath((0, 0), shown.replace("$", "S"), size=1).get_extents().width / len(shown))
    lines, size = [shown], 0.0
    for size in (10.0, 8.5, 7.0, 6.0, 5.0):  # the largest letters that fit
        lines = textwrap.wrap(shown, int(side * _CELL * 72 / (letter * size)))
        if len(lines) * 1.3 * size < (height - 0.35) * _CELL * 72:
            break
    axis.text(0, 0, "query text", fontsize=6.8, va="top", color=MUTED)
    axis.text(0, 0.22, "\n".join(lines), fontsize=size, va="top", linespacing=1.25, parse_math=False)


def _draw_image(axis: Axes, image: NDArray[np.uint8], x: float, y: float, side: float, color: str) -> None:
    height, width = (length * side / max(image.shape[:2]) for length in image.shape[:2])
    area: Any = (x, x + width, y + height, y)
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, extent=area, interpolation="nearest")
    axis.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=color, lw=2))


def _draw_mark(axis: Axes, x: float, y: float, right: bool) -> None:
    axis.text(
        x, y, "✓" if right else "✗", fontsize=7, color="white", ha="center", va="center", weight="bold",
        bbox={"boxstyle": "circle,pad=0.2", "facecolor": GOOD if right else BAD, "edgecolor": "white", "lw": 0.6},
    )  # fmt: skip


def _legend(result: SearchResult) -> list[Patch | Line2D]:
    frames = [
        Patch(facecolor="none", edgecolor=color, linewidth=2, label=name)
        for name, color in zip(result.class_names, _colors(result), strict=True)
    ]
    if result.query.label is None:
        return [*frames]
    marks = [
        Line2D([], [], linestyle="", marker="o", markersize=7, color=color, label=f"{sign} {meaning}")
        for sign, color, meaning in (("✓", GOOD, "the query's label"), ("✗", BAD, "another label"))
    ]
    return [*frames, *marks]
