"""Figures of the checks of the Grad-CAM maps; each function gives the bytes of one PNG."""

from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.explanation.deletion_insertion import RANDOM_PATCHES, RANDOM_PIXELS, PixelRemoval, area
from models.explanation.weight_randomisation import WeightRandomisation
from tasks.classification.explanation.report import ALIKE
from tasks.shared.figures import CLASS_COLORS, GOOD, MUTED, new_figure, render_png, without_ticks

RANDOM_STYLES = {RANDOM_PIXELS: ":", RANDOM_PATCHES: "--"}
COLORS = (*CLASS_COLORS, "#8a5a9e", GOOD)


def randomisation_curve(randomisation: WeightRandomisation, *, phantoms: bool) -> bytes:
    """Draw how alike the maps stay to the trained network's while it loses its training.

    Args:
        randomisation: the similarities.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(10, 3.7)
    axes: Any = figure.subplots(1, 2)
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
        axis.set_xticks(range(len(stages)), stages, rotation=35, ha="right", fontsize=8)
        axis.set_title(f"{title} with the trained model's maps", fontsize=10)
        axis.set_ylim(min(-0.4, float(similarities.mean(axis=-1).min()) - 0.05), 1.08)
        axis.grid(alpha=0.3)
    axes[0].axhspan(-ALIKE, ALIKE, color=GOOD, alpha=0.1, lw=0, label=f"unlike: within ±{ALIKE}")
    axes[0].axhline(float(randomisation.unrelated[0].mean()), ls=":", color=MUTED, label="maps of two different images")
    axes[0].legend(fontsize=7, loc="center right", bbox_to_anchor=(1, 0.68))
    figure.supxlabel("parts without training", fontsize=9)
    return render_png(figure, phantoms=phantoms)


def randomisation_montage(images: NDArray[np.uint8], randomisation: WeightRandomisation, *, phantoms: bool) -> bytes:
    """Draw the maps of a few images while the model loses its training.

    Args:
        images: the first of those that were explained, shape (at least the shown images, height, width), or with a
            last axis of 3 in colour; 0–255.
        randomisation: the first method's maps are drawn.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    maps = randomisation.examples[0].swapaxes(0, 1)  # images first
    titles = ["image", "trained", *(n if place == 0 else f"+ {n}" for place, n in enumerate(randomisation.stages))]
    figure = new_figure(1.15 * len(titles), 1.2 * len(maps) + 0.75)
    figure.suptitle(f"{randomisation.methods[0]} while the model loses its training from the head down", fontsize=10)
    axes: Any = figure.subplots(len(maps), len(titles), squeeze=False)
    for row, stages in enumerate(maps):
        for column, title in enumerate(titles):
            axis = axes[row, column]
            without_ticks(axis)
            axis.spines[:].set_visible(False)
            axis.imshow(images[row], cmap="gray", vmin=0, vmax=255)
            if column:
                axis.imshow(stages[column - 1], cmap="jet", alpha=0.4, vmin=0, vmax=1)
            if row == 0:
                axis.set_title(title, fontsize=8)
    return render_png(figure, phantoms=phantoms)


def deletion_insertion_curves(removal: PixelRemoval, *, phantoms: bool) -> bytes:
    """Draw how the probability of the predicted class moves as pixels go and come.

    Args:
        removal: the curves; the mean over the images is drawn.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(10, 3.7)
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
                ls=RANDOM_STYLES.get(name, "-"), label=f"{name}: area {area(lines).mean():.3f}",
            )  # fmt: skip
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(f"pixels {verb}, the most important first [%]")
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="lower left" if verb == "removed" else "lower right")
    axes[0].set_ylabel("mean probability of the predicted class")
    return render_png(figure, phantoms=phantoms)
