"""Figures of the retrieval stage, as PNG bytes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from models.vector_index import Neighbours
from tasks.retrieval.metrics.protocols import Protocol
from tasks.shared.bootstrap import mean_interval
from tasks.shared.figures import BAD, GOOD, MUTED, class_colors, image_grid, new_figure, render_png

_PROTOCOL_COLORS = ("#1b7f79", "#8a4fb0", "#c77800", "#444444")


def precision_at_k_curves(
    protocols: Sequence[Protocol], class_names: Sequence[str], *, samples: int, seed: int, phantoms: bool
) -> bytes:
    """Draw precision over k of each protocol with 95 % intervals, its chance line beside it: all queries, each class.

    Args:
        protocols: measured and expected values, at the same cut-offs.
        class_names: by label.
        samples: bootstrap samples of the intervals.
        seed: seed of the bootstrap.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(10.5, 4.2)
    figure.suptitle("Precision@k with 95 % intervals (dashed: chance)", fontsize=10)
    panels = [("all queries", None), *((f"{name} queries", label) for label, name in enumerate(class_names))]
    for axis, (title, label) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
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
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("k (neighbours)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.25)
    figure.axes[0].set_ylabel("share of the query's class")
    figure.axes[0].legend(loc="lower left", fontsize=8, frameon=False)
    return render_png(figure, phantoms=phantoms)


def class_map_bars(
    protocols: Sequence[Protocol], class_names: Sequence[str], *, samples: int, seed: int, phantoms: bool
) -> bytes:
    """Draw mean average precision by class for each protocol, with 95 % intervals and the level of chance.

    Args:
        protocols: measured and expected values.
        class_names: by label.
        samples: bootstrap samples of the intervals.
        seed: seed of the bootstrap.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(max(5.0, 1.5 + 1.9 * len(protocols)), 4.0)
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
            axis.text(left + width / 2, 0.02, f"{mean:.3f}", ha="center", color="white", fontsize=8)
    axis.set_xticks(range(len(protocols)), [protocol.name for protocol in protocols])
    axis.set_xlim(-0.6, len(protocols) - 0.4)
    axis.set_ylim(0, 1.16)
    axis.set_yticks(np.linspace(0, 1, 6))
    axis.set_ylabel("mean average precision")
    axis.set_title("Mean average precision by class", fontsize=10)
    bars = [Patch(color=color, label=name) for name, color in zip(class_names, colors, strict=True)]
    line = Line2D([], [], linestyle="--", color="black", lw=1.4, label="chance")
    axis.legend(handles=[*bars, line], loc="upper center", ncols=3, fontsize=8, frameon=False)
    return render_png(figure, phantoms=phantoms)


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
    phantoms: bool,
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
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    images = np.concatenate([query_images[:, None], neighbour_images], axis=1)
    captions, frames = [], []
    for row, (query, label) in enumerate(zip(query_ids, query_labels, strict=True)):
        captions.append(f"query #{query}\n{class_names[label]}")
        frames.append(MUTED)
        for column, neighbour in enumerate(neighbours.ids[row]):
            found = neighbour_labels[row, column]
            captions.append(f"#{neighbour}  {neighbours.similarities[row, column]:.3f}\n{class_names[found]}")
            frames.append(GOOD if found == label else BAD)
    figure = image_grid(
        images.reshape(-1, *images.shape[2:]), captions, columns=images.shape[1], title=title, frame_colors=frames
    )
    return render_png(figure, phantoms=phantoms)
