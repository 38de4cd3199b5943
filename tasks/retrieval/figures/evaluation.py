"""Figures of the retrieval stage, as PNG bytes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from models.vector_index import CLOSENESS, Neighbours
from tasks.retrieval.metrics.protocols import Protocol
from tasks.shared.bootstrap import mean_interval
from tasks.shared.figures import (
    BAD,
    GOOD,
    MOST_COLUMNS,
    MUTED,
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

_PROTOCOL_COLORS = ("#1b7f79", "#8a4fb0", "#c77800", "#444444")


def precision_at_k_curves(
    protocols: Sequence[Protocol], class_names: Sequence[str], *, samples: int, seed: int, source: Source
) -> bytes:
    """Draw precision over k of each protocol with 95 % intervals, its chance line beside it: all queries, each class.

    Args:
        protocols: measured and expected values, at the same cut-offs.
        class_names: by label.
        samples: bootstrap samples of the intervals.
        seed: seed of the bootstrap.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    panels = [("all queries", None), *((f"{name} queries", label) for label, name in enumerate(class_names))]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(2.5 * rows)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (title, label) in zip(axes.flat, panels, strict=False):
        for place, protocol in enumerate(protocols):
            color = _PROTOCOL_COLORS[place % len(_PROTOCOL_COLORS)]
            k_values = sorted(
                int(name.rpartition("_")[2]) for name in protocol.result.values if "precision_at_" in name
            )
            values = [protocol.result.defined(f"precision_at_{k}", label) for k in k_values]
            if not len(values[0]):
                continue
            low, high = np.transpose([mean_interval(series, samples, seed) for series in values])
            axis.plot(k_values, [series.mean() for series in values], "o-", color=color, ms=3, label=protocol.name)
            axis.fill_between(k_values, low, high, color=color, alpha=0.15, linewidth=0)
            # The same at every k. Dashes of one line fall into the gaps of the next, so that equal levels both show.
            dashes = (4 * place, (4, 4 * max(len(protocols) - 1, 1)))
            axis.axhline(
                protocol.chance.mean(f"precision_at_{k_values[0]}", label), color=color, lw=1.2, linestyle=dashes
            )
        axis.set(title=short_name(title, 30), xlabel="k (neighbours)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.25)
    for row in axes:
        row[0].set_ylabel("share of the query's class")
    chance = Line2D([], [], linestyle="--", color="black", lw=1.2, label="dashed: chance")
    return render_png(
        figure, source, title="Precision@k by protocol, with 95 % intervals", shown=_queries(protocols),
        legend=[*axes[0, 0].get_legend_handles_labels()[0], chance],
    )  # fmt: skip


def class_map_bars(
    protocols: Sequence[Protocol], class_names: Sequence[str], *, samples: int, seed: int, source: Source
) -> bytes:
    """Draw mean average precision by class for each protocol, with 95 % intervals and the level of chance.

    Args:
        protocols: measured and expected values.
        class_names: by label.
        samples: bootstrap samples of the intervals.
        seed: seed of the bootstrap.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(2.8)
    axis = figure.subplots()
    colors = class_colors(len(class_names))
    width = 0.72 / len(colors)
    for place, protocol in enumerate(protocols):
        for label, color in enumerate(colors):
            values = protocol.result.defined("average_precision", label)
            if not len(values):
                continue
            mean, (low, high) = values.mean(), mean_interval(values, samples, seed)
            left = place + (label - len(colors) / 2) * width
            axis.bar(left, mean, width, align="edge", color=color, yerr=[[mean - low], [high - mean]], capsize=3)
            axis.hlines(protocol.chance.mean("average_precision", label), left, left + width, "black", "--", lw=1.4)
            axis.text(left + width / 2, 0.02, f"{mean:.3f}", ha="center", color="white", rotation=90 * (width < 0.2))
    axis.set_xticks(range(len(protocols)), [protocol.name for protocol in protocols])
    axis.set_xlim(-0.6, len(protocols) - 0.4)
    axis.set_ylim(0, 1.02)
    axis.set_yticks(np.linspace(0, 1, 6))
    axis.set_ylabel("mean average precision")
    line = Line2D([], [], linestyle="--", color="black", lw=1.4, label="dashed: chance")
    return render_png(
        figure, source, title="Mean average precision by class and protocol, with 95 % intervals",
        shown=_queries(protocols), legend=[*patches(colors, [f"{name} queries" for name in class_names]), line],
    )  # fmt: skip


def gallery(
    query_images: NDArray[np.uint8],
    query_ids: NDArray[np.int64],
    query_labels: NDArray[np.integer],
    neighbour_images: NDArray[np.uint8],
    neighbour_labels: NDArray[np.integer],
    neighbours: Neighbours,
    class_names: Sequence[str],
    *,
    title: str,
    source: Source,
) -> bytes:
    """Show queries, one per row, with their neighbours: green frame for the query's class, red for another.

    Args:
        query_images: shape (queries, height, width), 0–255.
        query_ids: shape (queries,).
        query_labels: shape (queries,).
        neighbour_images: shape (queries, k, height, width), 0–255.
        neighbour_labels: shape (queries, k).
        neighbours: similarities and ids, nearest first, each of shape (queries, k).
        class_names: by label.
        title: heading of the figure.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    side = cell_width(MOST_COLUMNS)
    names = [short_name(name, caption_letters(side)) for name in class_names]
    lines = max(1, -(-neighbour_labels.shape[1] // (MOST_COLUMNS - 1)))
    row_height = side + 0.06 + caption_height(["\n"])
    sheet = Sheet(row_height * lines * max(len(query_ids), 1))
    for row, (query, label) in enumerate(zip(query_ids, query_labels, strict=True)):
        top = 0.03 + row_height * lines * row
        x = column_edge(0, MOST_COLUMNS)
        sheet.image(query_images[row], x, top, side, frame=MUTED)
        sheet.text(x, top + side + 0.05, f"query #{query}\n{names[label]}")
        for place, other in enumerate(neighbour_labels[row]):
            line, column = divmod(place, MOST_COLUMNS - 1)
            x, y = column_edge(column + 1, MOST_COLUMNS), top + row_height * line
            sheet.image(neighbour_images[row, place], x, y, side, frame=GOOD if other == label else BAD)
            near = neighbours.closeness(row, place)
            sheet.text(x, y + side + 0.05, f"#{neighbours.ids[row, place]}: {near}\n{names[other]}")
    return render_png(
        sheet.figure, source, title=title,
        shown=f"test, {len(query_ids)} queries and the {CLOSENESS[neighbours.metric]} of what they find",
        legend=frames((MUTED, GOOD, BAD), ("query", "neighbour of the query's class", "neighbour of another class")),
    )  # fmt: skip


def _queries(protocols: Sequence[Protocol]) -> str:
    return f"test, {len(protocols[0].result.query_ids)} queries"
