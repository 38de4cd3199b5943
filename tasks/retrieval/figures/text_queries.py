"""Figures of texts as queries, as PNG bytes."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from models.vector_index import Neighbours
from tasks.retrieval.analyses.text_queries import PromptSet, ZeroShot
from tasks.retrieval.metrics.protocols import Protocol
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD, MUTED, new_figure, render_png

_CELL = 1.05  # inches
_TEXT = 2.1  # cells


def prompt_precision(prompts: PromptSet, protocol: Protocol, *, k: int, phantoms: bool) -> bytes:
    """Draw precision@k and average precision of each prompt, with the level of chance.

    Args:
        prompts: what was asked.
        protocol: of `tasks.retrieval.analyses.text_queries.evaluate_prompts`, in the same order.
        k: a cut-off of the protocol.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(10.5, 1.6 + 0.34 * len(prompts.prompts))
    figure.suptitle("What each prompt finds (dashed: chance, a random ranking)", fontsize=10)
    panels = (
        (f"precision@{k}", f"precision_at_{k}"),
        ("average precision of the full ranking", "average_precision"),
    )
    places, colors = np.arange(len(prompts.prompts)), [CLASS_COLORS[label] for label in prompts.labels]
    for axis, (title, name) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
        values, chance = protocol.result.values[name], protocol.chance.values[name]
        axis.barh(places, values, 0.72, color=colors)
        axis.vlines(chance, places - 0.5, places + 0.5, "black", "--", lw=1.4)
        for place, value in zip(places, values, strict=True):
            axis.text(value + 0.015, place, f"{value:.2f}", va="center", fontsize=7)
        axis.set_title(title, fontsize=9)
        axis.set_xlim(0, 1.1)
        axis.set_xticks(np.linspace(0, 1, 6))
        axis.set_yticks(places, [textwrap.fill(text, 48) for text in prompts.texts], fontsize=7)
        axis.set_ylim(len(places) - 0.4, -0.6)
        axis.grid(axis="x", alpha=0.25)
    bars = [
        Patch(color=color, label=f"{name} prompt")
        for name, color in zip(prompts.class_names, CLASS_COLORS, strict=True)
    ]
    line = Line2D([], [], linestyle="--", color="black", lw=1.4, label="chance")
    figure.legend(handles=[*bars, line], loc="outside lower right", ncols=3, fontsize=8, frameon=False)
    return render_png(figure, phantoms=phantoms)


def prompt_gallery(
    prompts: PromptSet,
    chosen: NDArray[np.int64],
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    neighbours: Neighbours,
    *,
    title: str,
    phantoms: bool,
) -> bytes:
    """Show prompts, one per row, with the images that they find: green frame for the prompt's class, red for the other.

    Args:
        prompts: what was asked.
        chosen: positions of the prompts to show.
        images: those that the chosen prompts find, shape (chosen, k, height, width), 0–255.
        labels: class of each image, shape (chosen, k).
        neighbours: cosines and ids of the images, nearest first, each of shape (chosen, k).
        title: heading of the figure.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    rows, columns = max(len(chosen), 1), labels.shape[1]
    figure = new_figure(_CELL * (columns + _TEXT) + 0.3, (_CELL + 0.3) * rows + 0.7)
    figure.suptitle(f"{title}\nframes: green is the prompt's class, red the other", fontsize=10)
    axes: Any = figure.subplots(rows, columns + 1, squeeze=False, width_ratios=[_TEXT] + [1.0] * columns)
    for row, prompt in enumerate(prompts.prompts[position] for position in chosen):
        shown = axes[row, 0]
        shown.axis("off")
        shown.text(0, 0.5, textwrap.fill(f"“{prompt.text}”", 25), fontsize=8, va="center", transform=shown.transAxes)
        shown.set_title(
            prompts.class_names[prompt.label], loc="left", fontsize=8, color=CLASS_COLORS[prompt.label], weight="bold"
        )
        for column, axis in enumerate(axes[row, 1:]):
            found = int(labels[row, column])
            axis.imshow(images[row, column], cmap="gray", vmin=0, vmax=255)
            cosine = neighbours.similarities[row, column]
            axis.set_title(
                f"#{neighbours.ids[row, column]}  {cosine:.3f}\n{prompts.class_names[found]}", fontsize=6.5, pad=3
            )
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(linewidth=2, edgecolor=GOOD if found == prompt.label else BAD)
    return render_png(figure, phantoms=phantoms)


def zero_shot_overview(
    prompts: PromptSet,
    ensemble: ZeroShot,
    pairs: Sequence[ZeroShot],
    image_labels: NDArray[np.integer],
    *,
    phantoms: bool,
) -> bytes:
    """Draw the zero-shot scores by class, and the AUC of all prompts beside that of each pair.

    Args:
        prompts: what was asked.
        ensemble: `tasks.retrieval.analyses.text_queries.zero_shot` of all prompts.
        pairs: of `tasks.retrieval.analyses.text_queries.zero_shot_by_pair`.
        image_labels: class of each image, shape (images,).
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(11.5, 4.2)
    scores, areas = figure.subplots(1, 2)
    bins = np.histogram_bin_edges(ensemble.scores, 40)
    for label, (name, color) in enumerate(zip(prompts.class_names, CLASS_COLORS, strict=True)):
        chosen = ensemble.scores[image_labels == label]
        scores.hist(chosen, bins, color=color, alpha=0.55, label=f"{name} ({len(chosen)})")
    scores.axvline(0, color="black", ls="--", lw=1.2, label="rule: the larger cosine")
    scores.set_xlabel(
        "cosine with the {1} prompts − cosine with the {0} prompts".format(*prompts.class_names), fontsize=8
    )
    scores.set_ylabel("images")
    scores.set_title(f"all prompts: balanced accuracy {ensemble.balanced_accuracy.value:.3f}", fontsize=9)
    scores.legend(fontsize=8, frameon=False)

    names = ["all prompts of each class"]
    names += ["\n".join(textwrap.fill(prompts.texts[place], 60) for place in pair) for pair in prompts.pairs]
    for place, found in enumerate((ensemble, *pairs)):
        value, low, high, _ = found.auc
        color = CLASS_COLORS[0] if place == 0 else MUTED
        areas.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=color, ms=5, capsize=3)
        areas.annotate(f"{value:.3f}", (value, place), (0, 6), textcoords="offset points", ha="center", fontsize=7)
    areas.axvline(0.5, color="black", ls="--", lw=1.2)
    areas.set_yticks(range(len(names)), names, fontsize=7)
    areas.set_ylim(len(names) - 0.5, -0.6)
    areas.set_xlim(0, 1.08)
    areas.set_xticks(np.linspace(0, 1, 6))
    areas.set_xlabel("zero-shot AUC with 95 % interval (dashed: chance)", fontsize=8)
    areas.set_title("all prompts, and pairs that differ only in the finding", fontsize=9)
    areas.grid(axis="x", alpha=0.25)
    return render_png(figure, phantoms=phantoms)
