"""What all figures share: size, colours, the watermark, and PNG bytes that repeat.

Figures are made with `matplotlib.figure.Figure`, never with pyplot, whose global state is not safe in threads.
"""

import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE

CLASS_COLORS = ("#2a78b5", "#d1493f")  # normal, pneumonia: told apart with any common colour vision
GOOD, BAD, MUTED = "#2e8540", "#b3261e", "#6b7280"
DOTS_PER_INCH = 110


def class_colors(count: int) -> Sequence[str]:
    """Pick a colour for every class.

    Args:
        count: number of classes.

    Returns:
        `count` colours: `CLASS_COLORS` for two; else Matplotlib's ten, then their light shades, then again.
    """
    if count <= len(CLASS_COLORS):
        return CLASS_COLORS[:count]
    strong_and_light = [to_hex(color) for color in colormaps["tab20"](range(20))]
    palette = strong_and_light[::2] + strong_and_light[1::2]
    return [palette[position % len(palette)] for position in range(count)]


def short_name(name: str, width: int = 26) -> str:
    """Shorten the name of a class for a caption.

    Args:
        name: of any length.
        width: most characters.

    Returns:
        The name, cut after a word where there is room for one.
    """
    if len(name) <= width:
        return name
    words = textwrap.shorten(name, width - 1, placeholder="") or name[: width - 1]
    return f"{words.rstrip(' ,;(')}…"


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure with constrained layout.

    Args:
        width: inches.
        height: inches.

    Returns:
        The figure.
    """
    return Figure(figsize=(width, height), layout="constrained")


def without_ticks(axes: Axes) -> None:
    """Hide both axes of a picture, which are then not measured for the layout either, as those without ticks are.

    Args:
        axes: of the picture; its frame stays.
    """
    axes.xaxis.set_visible(False)
    axes.yaxis.set_visible(False)


def render_png(figure: Figure, *, phantoms: bool, random_weights: bool = False) -> bytes:
    """Render a figure to PNG with the research notice, and a watermark where it shows nothing real.

    Args:
        figure: the figure; it gains the notices. A tall one gains the watermark several times.
        phantoms: whether the data are drawn phantoms.
        random_weights: whether a language model with random weights wrote what is drawn.

    Returns:
        PNG bytes, the same for the same figure.
    """
    engine: Any = figure.get_layout_engine()
    if engine is not None:  # leave a line for the notice
        engine.set(rect=(0, 0.18 / figure.get_figheight(), 1, 1 - 0.18 / figure.get_figheight()))
    figure.text(0.005, 0.004, RESEARCH_NOTICE, fontsize=6, color=MUTED, ha="left", va="bottom")
    notices = [PHANTOM_NOTICE] * phantoms + [RANDOM_WEIGHTS_NOTICE] * random_weights
    width, height = figure.get_size_inches()
    marks = max(1, round(height / width)) if notices else 0
    for mark in range(marks):
        figure.text(
            0.5, (mark + 0.5) / marks, "\n".join(notice.split(":")[0] for notice in notices),
            fontsize=min(2.9 * width, 18 * height / len(notices)),  # points; the second fits it into a flat figure
            rotation=min(20, math.degrees(math.atan(0.6 * height / width))),
            color=BAD, alpha=0.35, ha="center", va="center", weight="bold", zorder=100,
        )  # fmt: skip
    figure.set_dpi(DOTS_PER_INCH)
    if engine is not None:  # else Matplotlib draws the whole figure once more, to lay it out
        engine.execute(figure)
        figure.set_layout_engine("none")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def image_grid(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    *,
    columns: int,
    title: str,
    overlays: NDArray[np.floating] | None = None,
    frame_colors: Sequence[str] | None = None,
    cell: float = 1.45,
) -> Figure:
    """Lay images out in a grid, each with a caption.

    Args:
        images: shape (cells, height, width), or (cells, height, width, 3) in colour; 0–255.
        captions: one per cell, may hold line breaks.
        columns: cells per row.
        title: heading of the figure.
        overlays: heat maps in [0, 1], shape (cells, height, width), drawn over the images; None draws none.
        frame_colors: colour of each cell's frame; None draws none.
        cell: width of a cell in inches.

    Returns:
        The figure.
    """
    rows = max(1, -(-len(images) // columns))
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    figure = new_figure(max(cell * columns, 4.0), (cell + 0.17 * lines) * rows + 0.6)
    figure.suptitle(title, fontsize=10)
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    for position, axis in enumerate(axes.flat):
        without_ticks(axis)
        if position >= len(images):
            axis.axis("off")
            continue
        axis.imshow(images[position], cmap="gray", vmin=0, vmax=255)
        if overlays is not None:
            axis.imshow(overlays[position], cmap="jet", alpha=0.35, vmin=0, vmax=1)
        axis.set_title(captions[position], fontsize=6.5)
        for spine in axis.spines.values():
            spine.set_linewidth(2 if frame_colors else 0)
            if frame_colors:
                spine.set_edgecolor(frame_colors[position])
    return figure


def image_sheet(
    images: NDArray[np.uint8],
    captions: Sequence[str],
    *,
    title: str,
    empty: str,
    frame_colors: Sequence[str],
    cell: float = 1.45,
) -> Figure:
    """Lay framed images out in rows of four to eight.

    Args:
        images: as `image_grid`.
        captions: one per cell, may hold line breaks.
        title: heading of the figure.
        empty: the sentence that stands in place of images where there are none.
        frame_colors: colour of each cell's frame.
        cell: width of a cell in inches.

    Returns:
        The figure.
    """
    if not len(images):
        figure = new_figure(6, 1.6)
        figure.text(0.5, 0.5, empty, ha="center")
        return figure
    columns = min(8, max(4, len(images)))
    return image_grid(images, captions, columns=columns, title=title, frame_colors=frame_colors, cell=cell)
