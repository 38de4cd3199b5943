"""Figures of where images and their neighbours agree, and of how far to trust these maps; each as PNG bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.explanation.similarity_maps import MaskingDrop, SimilarityMaps
from tasks.shared.bootstrap import mean_interval
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD, MUTED, new_figure, render_png, without_ticks

_COLUMNS = ("query", "neighbour", "query: share of the cosine", "neighbour: share of the cosine")


def similarity_rows(
    query_images: NDArray[np.uint8],
    neighbour_images: NDArray[np.uint8],
    query_names: Sequence[str],
    neighbour_names: Sequence[str],
    query_labels: NDArray[np.integer],
    neighbour_labels: NDArray[np.integer],
    maps: SimilarityMaps,
    class_names: Sequence[str],
    *,
    title: str,
    phantoms: bool,
) -> bytes:
    """Show pairs, one per row, and what each of their places contributes to the cosine.

    A neighbour has a green frame if it has the query's class, else a red one. One scale holds for all maps: 1 is a
    place that contributes as much as the average one.

    Args:
        query_images: shape (pairs, height, width) or (pairs, height, width, 3), 0–255.
        neighbour_images: of the same shape.
        query_names: split and number of each query, for its caption.
        neighbour_names: those of each neighbour.
        query_labels: shape (pairs,).
        neighbour_labels: shape (pairs,).
        maps: of these pairs; their cosines must not be 0.
        class_names: by label.
        title: heading of the figure.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    pairs, height, width = query_images.shape[:3]
    relative = [found * found[0].size / maps.cosines[:, None, None] for found in (maps.queries, maps.neighbours)]
    figure = new_figure(8.2, 1.95 * pairs + 0.8)
    figure.suptitle(title, fontsize=10)
    axes: Any = figure.subplots(pairs, len(_COLUMNS), squeeze=False)
    highest = max(float(found.max()) for found in relative)
    for row in range(pairs):
        same = query_labels[row] == neighbour_labels[row]
        captions = (
            f"{query_names[row]}: {class_names[query_labels[row]]}",
            f"{neighbour_names[row]}: {class_names[neighbour_labels[row]]}, cosine {maps.cosines[row]:.3f}",
            "", "",
        )  # fmt: skip
        for column, (axis, caption) in enumerate(zip(axes[row], captions, strict=True)):
            image = (query_images if column % 2 == 0 else neighbour_images)[row]
            axis.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
            without_ticks(axis)
            axis.set_title(_COLUMNS[column] + "\n" * bool(caption) + caption if row == 0 else caption, fontsize=7.5)
            axis.spines[:].set_color((GOOD if same else BAD) if column == 1 else MUTED)
            axis.spines[:].set_linewidth(2 if column == 1 else 0.5)
            if column >= 2:
                # Smoothed for the eye: the network knows no more than one number per place.
                drawn = axis.imshow(
                    relative[column - 2][row], cmap="inferno", alpha=0.5, vmin=0, vmax=highest,
                    extent=(0, width, height, 0), interpolation="bilinear",
                )  # fmt: skip
    bar = figure.colorbar(drawn, ax=axes[:, 2:], location="bottom", shrink=0.8, aspect=40, pad=0.02)
    bar.set_label("contribution to the cosine (1: the average place)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return render_png(figure, phantoms=phantoms)


def masking_bars(drop: MaskingDrop, *, samples: int, seed: int, phantoms: bool) -> bytes:
    """Draw how far the cosine falls when places of the neighbour are blotted out, with 95 % intervals.

    Args:
        drop: the falls.
        samples: bootstrap samples of the intervals, drawn over pairs.
        seed: seed of the bootstrap.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(7.2, 3.4)
    axis = figure.subplots()
    for place, falls in enumerate(drop.falls):
        mean, (low, high) = falls.mean(), mean_interval(falls, samples, seed)
        axis.barh(place, mean, color=CLASS_COLORS[0] if place == 0 else MUTED, height=0.62)
        axis.plot([low, high], [place, place], color="black", lw=1.2)
        note = f"{mean:.3f} [{low:.3f}, {high:.3f}]"
        if place:
            note += f"; {(drop.falls[0] > falls).mean():.0%} of pairs fall less"
        axis.annotate(note, (max(high, mean, 0), place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axis.set_yticks(range(len(drop.orders)), drop.orders, fontsize=8.5)
    axis.invert_yaxis()
    axis.axvline(0, color="black", lw=0.8)
    low, high = axis.get_xlim()
    axis.set_xlim(low, high + 0.75 * (high - low))  # room for the notes
    axis.set_xlabel("mean fall of the cosine")
    axis.set_title(f"{drop.share:.0%} of the neighbour's places blotted out, {drop.falls.shape[1]} pairs", fontsize=9.5)
    axis.spines[["top", "right"]].set_visible(False)
    return render_png(figure, phantoms=phantoms)
