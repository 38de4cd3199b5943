"""Figures of the checks of the Grad-CAM maps; each function gives the bytes of one PNG."""

from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.explanation.deletion_insertion import RANDOM_PATCHES, RANDOM_PIXELS, PixelRemoval, area
from models.explanation.weight_randomisation import WeightRandomisation
from tasks.classification.explanation.report import ALIKE
from tasks.shared.figures import (
    CLASS_COLORS,
    GOOD,
    MOST_COLUMNS,
    MUTED,
    TEXT,
    Sheet,
    Source,
    cell_width,
    column_edge,
    new_figure,
    render_png,
)

RANDOM_STYLES = {RANDOM_PIXELS: ":", RANDOM_PATCHES: "--"}
COLORS = (*CLASS_COLORS, "#8a5a9e", GOOD)


def randomisation_curve(randomisation: WeightRandomisation, *, source: Source) -> bytes:
    """Draw how alike the maps stay to the trained network's while it loses its training.

    Args:
        randomisation: the similarities.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(2.9)
    axes: Any = figure.subplots(1, 2, sharey=True)
    stages = ["trained", *(name if place == 0 else f"+ {name}" for place, name in enumerate(randomisation.stages))]
    panels = (
        ("rank correlation", randomisation.rank_correlations),
        ("structural similarity (SSIM)", randomisation.structural_similarities),
    )
    for axis, (title, similarities) in zip(axes, panels, strict=True):
        for method, color in zip(range(len(randomisation.methods)), cycle(COLORS), strict=False):
            draws = similarities[method].mean(axis=-1).T  # one row per draw
            draws = np.concatenate([np.ones((len(draws), 1)), draws], axis=1)
            axis.plot(draws.T, color=color, lw=0.7, alpha=0.35)
            axis.plot(draws.mean(axis=0), "o-", ms=4, color=color, label=randomisation.methods[method])
        axis.set_xticks(range(len(stages)), stages, rotation=35, ha="right")
        axis.set_title(title)
        axis.set_ylim(min(-0.4, float(similarities.mean(axis=-1).min()) - 0.05), 1.08)
        axis.grid(alpha=0.3)
    axes[0].axhspan(-ALIKE, ALIKE, color=GOOD, alpha=0.1, lw=0, label=f"unlike: within ±{ALIKE}")
    axes[0].axhline(float(randomisation.unrelated[0].mean()), ls=":", color=MUTED, label="maps of two different images")
    return render_png(
        figure, source, title="How alike the maps stay to the trained model's while its parts lose their training",
        shown=f"test, {randomisation.rank_correlations.shape[-1]} images",
        legend=axes[0].get_legend_handles_labels()[0],
    )  # fmt: skip


def randomisation_montage(images: NDArray[np.uint8], randomisation: WeightRandomisation, *, source: Source) -> bytes:
    """Draw the maps of a few images while the model loses its training.

    Args:
        images: the first of those that were explained, shape (at least the shown images, height, width), or with a
            last axis of 3 in colour; 0–255.
        randomisation: the first method's maps are drawn.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    maps = randomisation.examples[0].swapaxes(0, 1)  # images first
    titles = ["image", "trained", *(n if place == 0 else f"+ {n}" for place, n in enumerate(randomisation.stages))]
    shown = [*range(MOST_COLUMNS - 1), len(titles) - 1] if len(titles) > MOST_COLUMNS else list(range(len(titles)))
    columns, side = max(len(shown), 4), cell_width(max(len(shown), 4))
    sheet = Sheet(0.2 + (side + 0.08) * len(maps))
    for place, column in enumerate(shown):
        x = column_edge(place, columns)
        sheet.text(x, 0.02, titles[column], fontsize=TEXT)
        for row, stages in enumerate(maps):
            overlay = stages[column - 1] if column else None
            sheet.image(images[row], x, 0.2 + (side + 0.08) * row, side, overlay=overlay)
    return render_png(
        sheet.figure, source, title=f"{randomisation.methods[0]} while the model loses its training from the head down",
        shown=f"test, {len(maps)} images",
    )  # fmt: skip


def deletion_insertion_curves(removal: PixelRemoval, *, source: Source) -> bytes:
    """Draw how the probability of the predicted class moves as pixels go and come.

    Args:
        removal: the curves; the mean over the images is drawn.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(2.6)
    axes: Any = figure.subplots(1, 2, sharey=True)
    panels = (
        ("deletion: low is good", "removed", removal.deletion),
        ("insertion: high is good", "put back", removal.insertion),
    )
    for axis, (title, verb, curves) in zip(axes, panels, strict=True):
        shares = np.linspace(0, 100, curves.shape[-1])
        for name, lines, color in zip(removal.orders, curves, cycle(COLORS), strict=False):
            axis.plot(
                shares, lines.mean(axis=0), color=MUTED if name in RANDOM_STYLES else color, marker="o", ms=3,
                ls=RANDOM_STYLES.get(name, "-"), label=f"{name}: {area(lines).mean():.3f}",
            )  # fmt: skip
        axis.set_title(title)
        axis.set_xlabel(f"pixels {verb}, the most important first [%]")
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
        # Where the lines are thin: they start high and fall, or start low and rise.
        axis.legend(title="area under", loc="upper right" if verb == "removed" else "lower right", framealpha=0.7)
    axes[0].set_ylabel("probability of the predicted class")
    return render_png(
        figure, source, title="What the prediction loses and regains as pixels go and come, in the order of the maps",
        shown=f"test, mean of {len(removal.targets)} images",
    )  # fmt: skip
