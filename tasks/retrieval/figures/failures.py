"""Figures of the queries for which retrieval fails, as PNG bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from models.vector_index import Neighbours
from tasks.retrieval.analyses.failure_patterns import Effect, Pattern
from tasks.shared.figures import BAD, GOOD, MUTED, class_colors, new_figure, render_png, without_ticks

_CELL = 0.95  # inches
_GAP = 0.3  # cells
_PALE = 0.35
_LEGEND = "green: a neighbour of the query's class, or a query whose class the classifier predicts; red: not"


@dataclass(frozen=True)
class NeighbourGroup:
    """The neighbours that one way of searching finds.

    Attributes:
        title: heading of its columns.
        images: shape (queries, k, height, width), 0–255.
        labels: class of each neighbour, shape (queries, k).
        neighbours: similarities and ids, nearest first, each of shape (queries, k).
    """

    title: str
    images: NDArray[np.uint8]
    labels: NDArray[np.integer]
    neighbours: Neighbours


def neighbour_comparison(
    query_images: NDArray[np.uint8],
    query_ids: NDArray[np.int64],
    query_labels: NDArray[np.integer],
    predicted: NDArray[np.integer],
    groups: Sequence[NeighbourGroup],
    class_names: Sequence[str],
    *,
    title: str,
    phantoms: bool,
) -> bytes:
    """Show queries, one a row, beside what several ways of searching find for them.

    Frames are green for the query's class and red for another; the query's own frame says whether the classifier is
    right about it.

    Args:
        query_images: shape (queries, height, width), 0–255.
        query_ids: shape (queries,).
        query_labels: true class, shape (queries,).
        predicted: class that the classifier gives, shape (queries,).
        groups: global neighbours, those within the predicted class, and so on.
        class_names: by label.
        title: heading of the figure.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    sizes = [1, *(group.labels.shape[1] for group in groups)]
    widths = [width for size in sizes for width in [_GAP, *[1.0] * size]][1:]  # a gap before each group
    starts = np.cumsum([0, *(size + 1 for size in sizes[:-1])])
    heights = [0.12, *[1.0] * len(query_ids)]  # a row for the headings
    figure = new_figure(_CELL * sum(widths), _CELL * 1.3 * sum(heights) + 0.6)
    figure.suptitle(f"{title}\n{_LEGEND}", fontsize=10)
    grid = figure.add_gridspec(len(heights), len(widths), width_ratios=widths, height_ratios=heights)
    for heading, start, size in zip(["query", *(group.title for group in groups)], starts, sizes, strict=True):
        axis = figure.add_subplot(grid[0, start : start + size])
        axis.set_axis_off()
        axis.text(0.5, 0, heading, ha="center", fontsize=9, transform=axis.transAxes)
    for row, (query, label, prediction) in enumerate(zip(query_ids, query_labels, predicted, strict=True)):
        caption = f"#{query}  {class_names[label]}\npredicted {class_names[prediction]}"
        _thumbnail(figure.add_subplot(grid[row + 1, 0]), query_images[row], caption, label == prediction)
        for group, start in zip(groups, starts[1:], strict=True):
            for column, found in enumerate(group.labels[row]):
                similarity = group.neighbours.similarities[row, column]
                caption = f"#{group.neighbours.ids[row, column]}  {similarity:.3f}\n{class_names[found]}"
                axis = figure.add_subplot(grid[row + 1, start + column])
                _thumbnail(axis, group.images[row, column], caption, found == label)
    return render_png(figure, phantoms=phantoms)


def failure_patterns(patterns: Sequence[Pattern], effects: Sequence[Effect], *, k: int, phantoms: bool) -> bytes:
    """Draw how failures of retrieval and errors of the classifier meet, and how failed queries differ from others.

    Args:
        patterns: of `tasks.retrieval.analyses.failure_patterns.count_patterns`.
        effects: of `tasks.retrieval.analyses.failure_patterns.compare_failed`.
        k: the cut-off by which retrieval failed.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(10.5, 3.9)
    figure.suptitle(
        f"Queries for which retrieval fails: fewer than half of {k} neighbours have their class", fontsize=10
    )
    *tables, bars = figure.subplots(1, len(patterns) + 1, width_ratios=[1.0] * len(patterns) + [1.6])
    colors = dict(zip([pattern.name for pattern in patterns], class_colors(len(patterns)), strict=True))
    for axis, pattern in zip(tables, patterns, strict=True):
        _crossing(axis, pattern, colors[pattern.name])
    tables[0].set_ylabel("retrieval", fontsize=8)
    _effect_bars(bars, effects, colors)
    handles = [Patch(color=color, label=name) for name, color in colors.items()]
    handles.append(Patch(color=MUTED, alpha=_PALE, label="pale: p ≥ .05, adjusted by Holm"))
    figure.legend(handles=handles, loc="outside lower right", ncols=3, fontsize=8, frameon=False)
    return render_png(figure, phantoms=phantoms)


def _thumbnail(axis: Any, image: NDArray[np.uint8], caption: str, right: bool) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    axis.set_title(caption, fontsize=6, pad=3)
    without_ticks(axis)
    for spine in axis.spines.values():
        spine.set(linewidth=2, edgecolor=GOOD if right else BAD)


def _crossing(axis: Any, pattern: Pattern, color: str) -> None:
    counts = np.array(
        [
            [pattern.both_right, pattern.only_classifier_wrong],
            [pattern.only_retrieval_wrong, pattern.both_wrong],
        ]
    )
    total = max(int(counts.sum()), 1)
    for (row, column), count in np.ndenumerate(counts):
        share = count / total
        # Square root: the failures are few, and their cells should still be told apart.
        axis.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=color, alpha=float(np.sqrt(share))))
        ink = "white" if share > 0.35 else "black"
        axis.text(column, row, f"{count}\n{share:.1%}", ha="center", va="center", fontsize=10, color=ink)
    axis.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), aspect="equal")
    axis.set_xticks([0, 1], ["right", "wrong"], fontsize=8)
    axis.set_yticks([0, 1], ["right", "wrong"], fontsize=8)
    axis.set_xlabel("classifier", fontsize=8)
    axis.set_title(f"{pattern.name} ({int(counts.sum())} queries)", fontsize=9)
    axis.tick_params(length=0)


def _effect_bars(axis: Any, effects: Sequence[Effect], colors: dict[str, str]) -> None:
    properties = list(dict.fromkeys(effect.property for effect in effects))
    for effect in effects:
        label = list(colors).index(effect.name)
        place = properties.index(effect.property) + (label - (len(colors) - 1) / 2) * 0.72 / len(colors)
        if np.isnan(effect.effect.value):
            axis.text(0.02, place, f"{effect.name}: nothing to compare", va="center", fontsize=7, color=MUTED)
            continue
        value, low, high, _ = effect.effect
        solid = effect.p_adjusted < 0.05
        axis.barh(
            place, value, 0.66 / len(colors), color=colors[effect.name], alpha=1 if solid else _PALE,
            xerr=[[max(value - low, 0)], [max(high - value, 0)]], capsize=2, error_kw={"lw": 1},
        )  # fmt: skip
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(range(len(properties)), properties, fontsize=8)
    axis.set_ylim(len(properties) - 0.5, -0.5)
    axis.set_xlim(-1.02, 1.02)
    axis.set_xlabel("rank-biserial correlation: right of 0, failed queries have more", fontsize=8)
    axis.set_title("failed against other queries of the class", fontsize=9)
    axis.grid(axis="x", alpha=0.25)
