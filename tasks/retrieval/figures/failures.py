"""Figures of the queries for which retrieval fails, as PNG bytes."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from models.vector_index import CLOSENESS, Neighbours
from tasks.retrieval.analyses.failure_patterns import Effect, Pattern
from tasks.shared.figures import (
    BAD,
    GOOD,
    MOST_COLUMNS,
    MUTED,
    SMALL,
    TEXT,
    Sheet,
    Source,
    caption_height,
    caption_letters,
    cell_width,
    class_colors,
    column_edge,
    frames,
    new_figure,
    patches,
    render_png,
    short_name,
)

_PALE = 0.35
_FRAMES = (
    "neighbour of the query's class, or query that is classified correctly",
    "neighbour of another class, or query that is misclassified",
)


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
    source: Source,
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
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    width, side = cell_width(MOST_COLUMNS), 0.86
    row_height, heading, shown = side + 0.05 + caption_height(["#"]), 0.24, MOST_COLUMNS - 1
    rows = [_distinct(groups, row) for row in range(len(query_ids))]
    letters = caption_letters(width)
    below = [caption_height([textwrap.fill(f"{found[0][0]} →", letters)]) - caption_height(["#"]) for found in rows]
    heights = [heading + row_height * len(found) + more + 0.06 for found, more in zip(rows, below, strict=True)]
    sheet, top = Sheet(max(sum(heights), 0.3)), 0.0
    for row, (query, label, prediction) in enumerate(zip(query_ids, query_labels, predicted, strict=True)):
        x = column_edge(0, MOST_COLUMNS)
        words = f"Query #{query}: {class_names[label]}, classified as {class_names[prediction]}"
        sheet.text(x, top + 0.05, words, fontsize=TEXT, weight="bold")
        for place, (title_of_group, group) in enumerate(rows[row]):
            y = top + heading + row_height * place + (below[row] if place else 0)
            words = textwrap.fill(f"{title_of_group} →", letters)
            if place == 0:
                sheet.image(query_images[row], x, y, side, frame=_frame(prediction == label))
                sheet.text(x, y + side + 0.04, words, color=MUTED)
            else:
                sheet.text(x, y + 0.04, words, color=MUTED)
            for column, found in enumerate(group.labels[row, :shown]):
                left = column_edge(column + 1, MOST_COLUMNS)
                sheet.image(group.images[row, column], left, y, side, frame=_frame(found == label))
                near = group.neighbours.closeness(row, column)
                sheet.text(left, y + side + 0.04, f"#{group.neighbours.ids[row, column]}: {near}")
        top += heights[row]
    return render_png(
        sheet.figure, source, title=title,
        shown=f"test, {len(query_ids)} queries and the {CLOSENESS[groups[0].neighbours.metric]} of what they find",
        legend=frames((GOOD, BAD), _FRAMES),
    )  # fmt: skip


def failure_patterns(patterns: Sequence[Pattern], effects: Sequence[Effect], *, k: int, source: Source) -> bytes:
    """Draw how failures of retrieval and errors of the classifier meet, and how failed queries differ from others.

    Args:
        patterns: of `tasks.retrieval.analyses.failure_patterns.count_patterns`.
        effects: of `tasks.retrieval.analyses.failure_patterns.compare_failed`.
        k: the cut-off by which retrieval failed.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    columns = min(3, len(patterns))
    rows = -(-len(patterns) // columns)
    effect_height = 0.9 + 0.14 * len(effects)
    figure = new_figure(1.9 * rows + effect_height)
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.9 * rows, effect_height])
    above, below = parts
    grid: Any = above.subplots(rows, columns, squeeze=False)
    tables, bars = list(grid.flat[: len(patterns)]), below.subplots()
    for axis in grid.flat[len(patterns) :]:
        axis.axis("off")
    colors = dict(zip([pattern.name for pattern in patterns], class_colors(len(patterns)), strict=True))
    for axis, pattern in zip(tables, patterns, strict=True):
        _crossing(axis, pattern, colors[pattern.name])
    tables[0].set_ylabel("retrieval")
    _effect_bars(bars, effects, colors)
    pale = Patch(color=MUTED, alpha=_PALE, label="pale: p ≥ .05, adjusted by Holm")
    queries = sum(sum(_counts(pattern).flat) for pattern in patterns)
    return render_png(
        figure, source, title=f"Queries for which retrieval fails: fewer than half of {k} neighbours have their class",
        shown=f"test, {queries} queries", legend=[*patches(list(colors.values()), list(colors)), pale],
    )  # fmt: skip


def _distinct(groups: Sequence[NeighbourGroup], row: int) -> list[tuple[str, NeighbourGroup]]:
    """Join the ways of searching that find the same for a query, each with its title."""
    found: dict[bytes, tuple[str, NeighbourGroup]] = {}
    for group in groups:
        same = group.neighbours.ids[row].tobytes()
        title, first = found.get(same, ("", group))
        found[same] = f"{title} and {group.title}" if title else group.title, first
    return list(found.values())


def _frame(correct: bool) -> str:
    return GOOD if correct else BAD


def _counts(pattern: Pattern) -> NDArray[np.int64]:
    return np.array(
        [
            [pattern.both_right, pattern.only_classifier_wrong],
            [pattern.only_retrieval_wrong, pattern.both_wrong],
        ]
    )


def _crossing(axis: Any, pattern: Pattern, color: str) -> None:
    counts = _counts(pattern)
    total = max(int(counts.sum()), 1)
    for (row, column), count in np.ndenumerate(counts):
        share = count / total
        # Square root: the failures are few, and their cells should still be told apart.
        axis.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=color, alpha=float(np.sqrt(share))))
        ink = "white" if share > 0.35 else "black"
        axis.text(column, row, f"{count}\n{share:.1%}", ha="center", va="center", color=ink)
    axis.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), aspect="equal")
    axis.set_xticks([0, 1], ["correct", "incorrect"])
    axis.set_yticks([0, 1], ["succeeds", "fails"])
    axis.set_xlabel("classifier")
    axis.set_title(f"{short_name(pattern.name)} ({int(counts.sum())} queries)")
    axis.tick_params(length=0)


def _effect_bars(axis: Any, effects: Sequence[Effect], colors: dict[str, str]) -> None:
    properties = list(dict.fromkeys(effect.property for effect in effects))
    for effect in effects:
        label = list(colors).index(effect.name)
        place = properties.index(effect.property) + (label - (len(colors) - 1) / 2) * 0.72 / len(colors)
        if np.isnan(effect.effect.value):
            axis.text(0.02, place, f"{effect.name}: nothing to compare", va="center", fontsize=SMALL, color=MUTED)
            continue
        value, low, high, _ = effect.effect
        solid = effect.p_adjusted < 0.05
        axis.barh(
            place, value, 0.66 / len(colors), color=colors[effect.name], alpha=1 if solid else _PALE,
            xerr=[[max(value - low, 0)], [max(high - value, 0)]], capsize=2, error_kw={"lw": 1},
        )  # fmt: skip
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(range(len(properties)), properties)
    axis.set_ylim(len(properties) - 0.5, -0.5)
    axis.set_xlim(-1.02, 1.02)
    axis.set_xlabel("rank-biserial correlation: right of 0, failed queries have more")
    axis.set_title("failed queries against the others of their class")
    axis.grid(axis="x", alpha=0.25)
