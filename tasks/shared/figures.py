"""The house style of all figures: they are designed for the pages that show them, which are 690 pixels wide.

A figure is as wide as the page and is drawn with two pixels for each one that is shown. So letters have on the page the
size that they are given here, whatever the figure shows. What frames its body, title, subtitle, legend and notices, is
drawn in one place, `render_png`.

Figures are made with `matplotlib.figure.Figure`, never with pyplot, whose global state is not safe in threads.
"""

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from matplotlib import colormaps, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from tasks.records.data import DatasetRecord
from tasks.shared.heat_colours import HEAT_COLOURS, HEAT_OPACITY

CLASS_COLORS = ("#2a78b5", "#d1493f")  # normal, pneumonia: told apart with any common colour vision
GOOD, BAD, MUTED = "#2e8540", "#b3261e", "#6b7280"

SHOWN_WIDTH = 690
"""Pixels that a figure is wide where it is shown: in Prefect's artifacts and in MLflow's viewer of reports."""
WIDTH = 6.9
"""Inches that every figure is wide: 100 shown pixels an inch, so that 6.5 points are 9 shown pixels."""
MOST_COLUMNS = 6
"""Images side by side: more would be too small to see."""
SMALL, TEXT, TITLE = 7.0, 8.0, 10.0
"""Sizes of letters in points: captions and numbers, everything else, the heading. No letter is smaller."""
_DOTS_PER_INCH = 200
_GAP = 0.1  # inches between images, and from them to the edge
_LINE = SMALL * 1.3 / 72  # inches, of a line of a caption
_LETTER = 0.54  # mean width of a letter, as a share of its size
_LONGEST_LABEL = 80  # letters, of a legend's line
_MOST_TEXT = 482.0  # points that a line of the head or the legend may be long

# For the whole process, which draws nothing else: a figure has no defaults of its own.
rcParams.update(
    {
        "font.size": TEXT,
        "axes.titlesize": TEXT + 0.5,
        "axes.labelsize": TEXT,
        "xtick.labelsize": SMALL + 0.5,
        "ytick.labelsize": SMALL + 0.5,
        "legend.fontsize": SMALL + 0.5,
        "legend.title_fontsize": SMALL + 0.5,
        "figure.constrained_layout.h_pad": 0.06,
        "figure.constrained_layout.w_pad": 0.06,
    }
)


@dataclass(frozen=True)
class Source:
    """What a figure is made from, which stands in its subtitle and its notices.

    Attributes:
        dataset: title of the dataset.
        model: what judged or ordered the images: network and seed, encoder, generator; may be empty.
        phantoms: whether the images are drawn phantoms.
        random_weights: whether a language model with random weights wrote what is drawn.
    """

    dataset: str
    model: str = ""
    phantoms: bool = False
    random_weights: bool = False

    @classmethod
    def of(cls, dataset: DatasetRecord, model: str = "", *, random_weights: bool = False) -> "Source":
        """Take it from the record of a dataset."""
        return cls(dataset.title, model, dataset.phantoms, random_weights)

    @property
    def notices(self) -> list[str]:
        """What a watermark says: nothing of real images and real models."""
        return [PHANTOM_NOTICE] * self.phantoms + [RANDOM_WEIGHTS_NOTICE] * self.random_weights

    def subtitle(self, shown: str) -> str:
        """Name the dataset, what of it is shown, and the model."""
        return " · ".join(part for part in (self.dataset, shown, self.model) if part)


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


def drawable(text: str) -> str:
    """Put a box in place of each character that the font lacks, since files and language models may hold any.

    All that Python counts as white space, the separators of ASCII among it, becomes a space but for line feeds.

    Args:
        text: of any length.

    Returns:
        As many characters.
    """
    spaced = ("\n" if letter == "\n" else " " if letter.isspace() else letter for letter in text)
    return "".join(letter if letter in " \n" or _has_glyph(letter) else "□" for letter in spaced)


@cache
def _has_glyph(letter: str) -> bool:
    return letter.isprintable() and get_font(findfont("DejaVu Sans")).get_char_index(ord(letter)) > 0


def new_figure(height: float) -> Figure:
    """Make an empty figure with constrained layout, as wide as every figure.

    Args:
        height: inches of the body, without what `render_png` puts above and below it.

    Returns:
        The figure.
    """
    return Figure(figsize=(WIDTH, height), dpi=_DOTS_PER_INCH, layout="constrained")


def frames(colors: Sequence[str], names: Sequence[str]) -> list[Patch | Line2D]:
    """Explain the colours of frames, for a legend.

    Args:
        colors: of the frames.
        names: what each means.

    Returns:
        Handles.
    """
    return [
        Patch(facecolor="none", edgecolor=color, linewidth=2, label=short_name(name, _LONGEST_LABEL))
        for color, name in zip(colors, names, strict=True)
    ]


def patches(colors: Sequence[str], names: Sequence[str]) -> list[Patch | Line2D]:
    """Explain the colours of bars and areas, for a legend.

    Args:
        colors: of the bars.
        names: what each means.

    Returns:
        Handles.
    """
    return [
        Patch(color=color, label=short_name(name, _LONGEST_LABEL)) for color, name in zip(colors, names, strict=True)
    ]


def render_png(
    figure: Figure, source: Source, *, title: str, shown: str = "", legend: Sequence[Patch | Line2D] = ()
) -> bytes:
    """Put title, subtitle, legend and notices around the body of a figure, and render it to PNG.

    Args:
        figure: with its body; it grows by what is put around it. A tall one gains the watermark several times.
        source: what it is made from.
        title: its heading, one sentence or less.
        shown: what of the dataset is shown, such as "test, 624 images".
        legend: handles with labels, which are explained below the body.

    Returns:
        PNG bytes, twice as wide as they are shown; the same for the same figure.
    """
    heading, below = _wrapped(title, TITLE), _wrapped(source.subtitle(shown), TEXT)
    columns, rows = _legend_grid([str(handle.get_label()) for handle in legend])
    top = 0.1 + 0.19 * len(heading) + 0.155 * len(below) + 0.06
    bottom = 0.22 + (0.165 * rows + 0.1 if legend else 0)
    body = figure.get_figheight()
    height = body + top + bottom
    figure.set_figheight(height)
    engine: Any = figure.get_layout_engine()
    if engine is None:
        for axis in figure.axes:
            x, y, wide, high = axis.get_position().bounds
            axis.set_position((x, (bottom + y * body) / height, wide, high * body / height))
    else:
        engine.set(rect=(0.005, bottom / height, 0.99, body / height))
    left = _GAP / WIDTH
    plain: dict[str, Any] = {"ha": "left", "va": "top", "parse_math": False, "linespacing": 1.25}
    figure.text(left, 1 - 0.09 / height, "\n".join(heading), fontsize=TITLE, **plain)
    figure.text(left, 1 - (0.11 + 0.19 * len(heading)) / height, "\n".join(below), fontsize=TEXT, color=MUTED, **plain)
    figure.text(left, 0.05 / height, RESEARCH_NOTICE, fontsize=SMALL, color=MUTED, ha="left", va="bottom")
    if legend:
        figure.legend(
            handles=list(legend), loc="lower center", bbox_to_anchor=(0.5, 0.22 / height), ncols=columns,
            frameon=False, borderaxespad=0, borderpad=0, columnspacing=1.4, handletextpad=0.5, labelspacing=0.35,
        )  # fmt: skip
    _watermark(figure, source.notices, height)
    buffer = io.BytesIO()
    # Not by `savefig`, which draws a figure with a layout engine once more, to lay it out.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _watermark(figure: Figure, notices: Sequence[str], height: float) -> None:
    marks = max(1, round(height / WIDTH)) if notices else 0
    for mark in range(marks):
        figure.text(
            0.5, (mark + 0.5) / marks, "\n".join(notice.split(":")[0] for notice in notices),
            fontsize=min(2.9 * WIDTH, 18 * height / len(notices)),  # points; the second fits it into a flat figure
            rotation=min(20, math.degrees(math.atan(0.6 * height / WIDTH))),
            color=BAD, alpha=0.35, ha="center", va="center", weight="bold", zorder=100,
        )  # fmt: skip


def _wrapped(text: str, size: float) -> list[str]:
    return [line for part in text.splitlines() for line in textwrap.wrap(part, int(_MOST_TEXT / (_LETTER * size)))]


def _legend_grid(labels: Sequence[str]) -> tuple[int, int]:
    """Choose columns and rows of a legend, so that it is no wider than the figure."""
    if not labels:
        return 1, 0
    widths = [len(label) * 0.62 * (SMALL + 0.5) + 34 for label in labels]  # wide letters are many in names
    columns = len(labels)
    while columns > 1 and sum(map(max, np.array_split(widths, columns))) > _MOST_TEXT:  # column by column, as it fills
        columns -= 1
    return columns, -(-len(labels) // columns)


class Sheet:
    """Images with captions, placed in inches from the upper left, all on one pair of axes.

    One pair for each image would take ten times as long to draw.
    """

    def __init__(self, height: float) -> None:
        """Make an empty sheet.

        Args:
            height: inches.
        """
        self.figure = Figure(figsize=(WIDTH, height), dpi=_DOTS_PER_INCH)
        self.axis: Any = self.figure.add_axes((0, 0, 1, 1))
        self.axis.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
        self.axis.axis("off")

    def image(
        self,
        image: NDArray[np.uint8],
        x: float,
        y: float,
        side: float,
        *,
        frame: str | None = None,
        overlay: NDArray[np.floating] | None = None,
    ) -> None:
        """Draw an image.

        Args:
            image: shape (height, width) or (height, width, 3), 0–255.
            x: of its left edge.
            y: of its upper edge.
            side: of the longer of its sides.
            frame: colour of its frame; None draws none.
            overlay: heat map in [0, 1] of its shape, drawn over it; None draws none.
        """
        height, width = (length * side / max(image.shape[:2]) for length in image.shape[:2])
        place: Any = {"extent": (x, x + width, y + height, y), "aspect": "auto"}
        self.axis.imshow(image, cmap="gray", vmin=0, vmax=255, **place)
        if overlay is not None:
            self.axis.imshow(overlay, cmap=HEAT_COLOURS, alpha=HEAT_OPACITY, vmin=0, vmax=1, **place)
        if frame is not None:
            self.axis.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=frame, lw=2))

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write a text below a point.

        Args:
            x: of the point.
            y: of the point, which is the upper edge of the text.
            text: may hold line breaks.
            style: of Matplotlib's text.
        """
        self.axis.text(x, y, text, **{"fontsize": SMALL, "va": "top", "parse_math": False} | style)


def cell_width(columns: int) -> float:
    """Return how wide, in inches, each of some images side by side is on a sheet."""
    return (WIDTH - _GAP * (columns + 1)) / columns


def column_edge(column: int, columns: int) -> float:
    """Return where, in inches, the left edge of a column of a sheet is."""
    return _GAP + column * (cell_width(columns) + _GAP)


def caption_letters(inches: float) -> int:
    """Return how many letters of a caption fit into a length."""
    return int(inches * 72 / (0.58 * SMALL))


def caption_height(captions: Sequence[str]) -> float:
    """Return how high, in inches, the tallest of some captions is, with the room below it."""
    return _LINE * max((caption.count("\n") + 1 for caption in captions if caption), default=0) + 0.12


def image_grid(
    images: NDArray[np.uint8], captions: Sequence[str], *, columns: int, frame_colors: Sequence[str]
) -> Figure:
    """Lay framed images out in a grid, each with a caption below it.

    Args:
        images: shape (cells, height, width), or (cells, height, width, 3) in colour; 0–255.
        captions: one per cell, may hold line breaks.
        columns: cells per row, at most `MOST_COLUMNS`.
        frame_colors: colour of each cell's frame.

    Returns:
        The body of a figure.
    """
    side = min(cell_width(columns), 1.6)  # few images need not be large
    row = side + 0.04 + caption_height(captions)
    sheet = Sheet(max(row * -(-len(images) // columns), 0.3))
    for position, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = _GAP + position % columns * (side + _GAP), position // columns * row + 0.02
        sheet.image(image, x, y, side, frame=frame_colors[position])
        sheet.text(x, y + side + 0.05, caption)
    return sheet.figure


def sentence(text: str) -> Figure:
    """Say in place of a figure's body why there is nothing to draw.

    Args:
        text: the sentence.

    Returns:
        The body of a figure.
    """
    sheet = Sheet(0.6)
    sheet.text(WIDTH / 2, 0.2, text, ha="center", fontsize=TEXT + 1)
    return sheet.figure
