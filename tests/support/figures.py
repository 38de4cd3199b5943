"""What every figure must keep to where it is shown: 690 pixels wide, letters of 9 of them, six images side by side."""

from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar
from unittest import mock

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text

from tasks.shared.figures import MOST_COLUMNS, SHOWN_WIDTH, Source

Drawn = TypeVar("Drawn")
LEAST_LETTERS = 9  # pixels of those that are shown
REAL = Source("somemnist", "compact28, seed 0")
PHANTOMS = Source("somemnist", "compact28, seed 0", phantoms=True)
RANDOM_WEIGHTS = Source("somemnist", "compact28, seed 0", random_weights=True)


def drawn_by(draw: Callable[[], object]) -> list[Figure]:
    """The figures that a call renders, as they are when they are."""
    figures: list[Figure] = []
    render = FigureCanvasAgg.print_png

    def save(canvas: FigureCanvasAgg, *arguments: object, **options: object) -> None:
        render(canvas, *arguments, **options)
        figures.append(canvas.figure)

    with mock.patch.object(FigureCanvasAgg, "print_png", save):
        draw()
    return figures


def texts_of(figure: Figure) -> list[Text]:
    """What is written on a figure, without what is empty or hidden."""
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden = {
        id(text)
        for axes in figure.axes
        for text in axes.findobj(Text)
        if not axes.axison and text not in axes.texts and text not in axes.get_children()
    }
    return [text for text in shown if id(text) not in hidden]


def letters_of(figure: Figure) -> dict[str, float]:
    """Size of the letters of each text in pixels, where the figure is shown."""
    a_point = SHOWN_WIDTH / (72 * figure.get_figwidth())
    return {text.get_text(): float(text.get_fontsize()) * a_point for text in texts_of(figure)}


def most_columns_of(figure: Figure) -> int:
    """The most images that stand side by side."""
    rows: defaultdict[int, set[int]] = defaultdict(set)
    for image in figure.findobj(AxesImage):
        extent = image.get_window_extent()
        rows[round(extent.y0)].add(round(extent.x0))
    return max(map(len, rows.values()), default=0)


def cut_off_in(figure: Figure) -> list[str]:
    """The texts that reach beyond the edge of a figure."""
    box = figure.bbox
    return [
        text.get_text()
        for text in texts_of(figure)
        if not text.get_clip_on()
        and ((extent := text.get_window_extent()).x0 < box.x0 - 1 or extent.x1 > box.x1 + 1 or extent.y0 < box.y0 - 1
             or extent.y1 > box.y1 + 1)
    ]  # fmt: skip


def require_legible(draw: Callable[[], Drawn]) -> Drawn:
    """Draw a figure, and refuse what cannot be read where it is shown, and one that does not say what it shows.

    Returns:
        What the call returns.
    """
    drawn: list[Drawn] = []
    (figure,) = drawn_by(lambda: drawn.append(draw()))
    small = {text: round(size, 1) for text, size in letters_of(figure).items() if size < LEAST_LETTERS}
    assert not small
    assert most_columns_of(figure) <= MOST_COLUMNS
    assert figure.get_figwidth() * figure.get_dpi() == 2 * SHOWN_WIDTH
    assert not cut_off_in(figure)
    assert any("mnist" in text for text in letters_of(figure)), "no dataset is named"
    assert np.isfinite(figure.get_figheight())
    return drawn[0]
