"""Figures of where images and their neighbours agree, and of how far to trust these maps; each as PNG bytes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.explanation.similarity_maps import MaskingDrop, SimilarityMaps
from tasks.shared.bootstrap import mean_interval
from tasks.shared.figures import (
    BAD,
    CLASS_COLORS,
    GOOD,
    MUTED,
    SMALL,
    TEXT,
    Sheet,
    Source,
    caption_height,
    caption_letters,
    column_edge,
    frames,
    new_figure,
    render_png,
    short_name,
)

_COLUMNS = ("query", "neighbour", "in the query", "in the neighbour")


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
    source: Source,
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
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    pairs, height, width = query_images.shape[:3]
    relative = [found * found[0].size / maps.cosines[:, None, None] for found in (maps.queries, maps.neighbours)]
    side = 1.35
    edges = [column_edge(0, 4) + place * (side + 0.2) for place in range(len(_COLUMNS))]
    row_height = side + 0.08 + caption_height(["\n"])
    sheet = Sheet(0.22 + row_height * pairs)
    names = [short_name(name, caption_letters(side)) for name in class_names]
    highest = max(float(found.max()) for found in relative)
    for x, heading in zip(edges, _COLUMNS, strict=True):
        sheet.text(x, 0.02, heading, fontsize=TEXT)
    for row in range(pairs):
        y, same = 0.22 + row_height * row, query_labels[row] == neighbour_labels[row]
        captions = (
            f"{query_names[row]}: {names[query_labels[row]]}",
            f"{neighbour_names[row]}: {names[neighbour_labels[row]]}\ncosine {maps.cosines[row]:.3f}",
        )
        for column, x in enumerate(edges):
            image = (query_images if column % 2 == 0 else neighbour_images)[row]
            sheet.image(image, x, y, side, frame=(GOOD if same else BAD) if column == 1 else None)
            if column < 2:
                sheet.text(x, y + side + 0.05, captions[column])
                continue
            # Smoothed for the eye: the network knows no more than one number per place.
            drawn = sheet.axis.imshow(
                relative[column - 2][row], cmap="inferno", alpha=0.5, vmin=0, vmax=highest, aspect="auto",
                extent=(x, x + side * width / max(height, width), y + side * height / max(height, width), y),
                interpolation="bilinear",
            )  # fmt: skip
    total = sheet.figure.get_figheight()
    place = sheet.figure.add_axes((0.925, 1 - (0.22 + side) / total, 0.015, side / total))
    sheet.figure.colorbar(drawn, cax=place).set_label("1: the average place", fontsize=SMALL)
    place.tick_params(labelsize=SMALL)
    return render_png(
        sheet.figure, source, title=f"{title}: what each place contributes to the cosine",
        shown=f"test, {pairs} pairs",
        legend=frames((GOOD, BAD), ("neighbour of the query's class", "neighbour of another class")),
    )  # fmt: skip


def masking_bars(drop: MaskingDrop, *, samples: int, seed: int, source: Source) -> bytes:
    """Draw how far the cosine falls when places of the neighbour are blotted out, with 95 % intervals.

    Args:
        drop: the falls.
        samples: bootstrap samples of the intervals, drawn over pairs.
        seed: seed of the bootstrap.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(2.3)
    axis = figure.subplots()
    for place, falls in enumerate(drop.falls):
        mean, (low, high) = falls.mean(), mean_interval(falls, samples, seed)
        axis.barh(place, mean, color=CLASS_COLORS[0] if place == 0 else MUTED, height=0.62)
        axis.plot([low, high], [place, place], color="black", lw=1.2)
        note = f"{mean:.3f} [{low:.3f}, {high:.3f}]"
        if place:
            note += f"; {(drop.falls[0] > falls).mean():.0%} of pairs fall less"
        axis.annotate(note, (max(high, mean, 0), place), (5, 0), textcoords="offset points", va="center")
    axis.set_yticks(range(len(drop.orders)), drop.orders)
    axis.invert_yaxis()
    axis.axvline(0, color="black", lw=0.8)
    low, high = axis.get_xlim()
    axis.set_xlim(low, high + 0.75 * (high - low))  # room for the notes
    axis.set_xlabel("mean fall of the cosine")
    axis.spines[["top", "right"]].set_visible(False)
    return render_png(
        figure, source, title=f"How the cosine falls when {drop.share:.0%} of the neighbour's places are blotted out",
        shown=f"test, {drop.falls.shape[1]} pairs",
    )  # fmt: skip
