"""Figures of texts as queries, as PNG bytes."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from models.vector_index import Neighbours
from tasks.retrieval.analyses.text_queries import PromptSet, ZeroShot
from tasks.retrieval.metrics.protocols import Protocol
from tasks.shared.figures import (
    BAD,
    CLASS_COLORS,
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
    column_edge,
    frames,
    new_figure,
    patches,
    render_png,
    short_name,
)

_TEXT_COLUMNS = 2  # of `MOST_COLUMNS`, which a prompt takes


def prompt_precision(prompts: PromptSet, protocol: Protocol, *, k: int, source: Source) -> bytes:
    """Draw precision@k and average precision of each prompt, with the level of chance.

    Args:
        prompts: what was asked.
        protocol: of `tasks.retrieval.analyses.text_queries.evaluate_prompts`, in the same order.
        k: a cut-off of the protocol.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(0.6 + 0.34 * len(prompts.prompts))
    panels = ((f"precision@{k}", f"precision_at_{k}"), ("average precision", "average_precision"))
    places, colors = np.arange(len(prompts.prompts)), [CLASS_COLORS[label] for label in prompts.labels]
    for axis, (title, name) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
        values, chance = protocol.result.values[name], protocol.chance.values[name]
        axis.barh(places, values, 0.72, color=colors)
        axis.vlines(chance, places - 0.5, places + 0.5, "black", "--", lw=1.4)
        for place, value in zip(places, values, strict=True):
            axis.text(value + 0.015, place, f"{value:.2f}", va="center", fontsize=SMALL)
        axis.set_title(title)
        axis.set_xlim(0, 1.1)
        axis.set_xticks(np.linspace(0, 1, 6))
        axis.set_yticks(places, [textwrap.fill(text, 34) for text in prompts.texts], fontsize=SMALL)
        axis.set_ylim(len(places) - 0.4, -0.6)
        axis.grid(axis="x", alpha=0.25)
    line = Line2D([], [], linestyle="--", color="black", lw=1.4, label="dashed: chance, a random ranking")
    return render_png(
        figure, source, title="What each prompt finds among the test images",
        shown=f"test, {len(prompts.prompts)} prompts",
        legend=[*patches(CLASS_COLORS, [f"{name} prompt" for name in prompts.class_names]), line],
    )  # fmt: skip


def prompt_gallery(
    prompts: PromptSet,
    chosen: NDArray[np.int64],
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    neighbours: Neighbours,
    *,
    title: str,
    source: Source,
) -> bytes:
    """Show prompts, one per row, with the images that they find: green frame for the prompt's class, red for the other.

    Args:
        prompts: what was asked.
        chosen: positions of the prompts to show.
        images: those that the chosen prompts find, shape (chosen, k, height, width), 0–255.
        labels: class of each image, shape (chosen, k).
        neighbours: cosines and ids of the images, nearest first, each of shape (chosen, k).
        title: heading of the figure.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    side, found = cell_width(MOST_COLUMNS), labels[:, : MOST_COLUMNS - _TEXT_COLUMNS]
    letters = caption_letters(side)
    row_height = side + 0.1 + caption_height(["\n"])
    sheet = Sheet(row_height * max(len(chosen), 1))
    for row, prompt in enumerate(prompts.prompts[position] for position in chosen):
        y, x = 0.04 + row_height * row, column_edge(0, MOST_COLUMNS)
        sheet.text(x, y, prompts.class_names[prompt.label], fontsize=TEXT, color=CLASS_COLORS[prompt.label],
                   weight="bold")  # fmt: skip
        width = caption_letters(column_edge(_TEXT_COLUMNS, MOST_COLUMNS) - x) - 2
        sheet.text(x, y + 0.18, textwrap.fill(f"“{prompt.text}”", width, max_lines=8, placeholder=" …"))
        for column, label in enumerate(found[row]):
            x = column_edge(_TEXT_COLUMNS + column, MOST_COLUMNS)
            sheet.image(images[row, column], x, y, side, frame=GOOD if label == prompt.label else BAD)
            cosine, name = neighbours.similarities[row, column], short_name(prompts.class_names[label], letters)
            sheet.text(x, y + side + 0.05, f"#{neighbours.ids[row, column]}: {cosine:.3f}\n{name}")
    return render_png(
        sheet.figure, source, title=title, shown=f"test, {len(chosen)} prompts and the cosine of what they find",
        legend=frames((GOOD, BAD), ("image of the prompt's class", "image of the other class")),
    )  # fmt: skip


def zero_shot_overview(
    prompts: PromptSet,
    ensemble: ZeroShot,
    pairs: Sequence[ZeroShot],
    image_labels: NDArray[np.integer],
    *,
    source: Source,
) -> bytes:
    """Draw the zero-shot scores by class, and the AUC of all prompts beside that of each pair.

    Args:
        prompts: what was asked.
        ensemble: `tasks.retrieval.analyses.text_queries.zero_shot` of all prompts.
        pairs: of `tasks.retrieval.analyses.text_queries.zero_shot_by_pair`.
        image_labels: class of each image, shape (images,).
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(max(2.9, 0.8 + 0.42 * (1 + len(pairs))))
    scores, areas = figure.subplots(1, 2)
    bins = np.histogram_bin_edges(ensemble.scores, 40)
    for label, (name, color) in enumerate(zip(prompts.class_names, CLASS_COLORS, strict=True)):
        chosen = ensemble.scores[image_labels == label]
        scores.hist(chosen, bins, color=color, alpha=0.55, label=f"{name} ({len(chosen)})")
    scores.axvline(0, color="black", ls="--", lw=1.2, label="rule: the larger cosine")
    scores.set_xlabel("cosine with {1} − with {0} prompts".format(*prompts.class_names))
    scores.set_ylabel("images")
    scores.set_title(f"all: balanced accuracy {ensemble.balanced_accuracy.value:.3f}")

    names = ["all prompts of each class"]
    names += [
        "\n".join(textwrap.shorten(prompts.texts[place], 40, placeholder="…") for place in pair)
        for pair in prompts.pairs
    ]
    for place, found in enumerate((ensemble, *pairs)):
        value, low, high, _ = found.auc
        color = CLASS_COLORS[0] if place == 0 else MUTED
        areas.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=color, ms=5, capsize=3)
        areas.annotate(f"{value:.3f}", (value, place), (0, 6), textcoords="offset points", ha="center", fontsize=SMALL)
    areas.axvline(0.5, color="black", ls="--", lw=1.2)
    areas.set_yticks(range(len(names)), names, fontsize=SMALL)
    areas.set_ylim(len(names) - 0.5, -0.6)
    areas.set_xlim(0, 1.08)
    areas.set_xticks(np.linspace(0, 1, 6))
    areas.set_xlabel("AUC with 95 % interval")
    areas.set_title("all, and each pair of prompts")
    areas.grid(axis="x", alpha=0.25)
    return render_png(
        figure, source, title="Zero-shot: how well the prompts alone tell the classes apart",
        shown=f"test, {len(image_labels)} images", legend=scores.get_legend_handles_labels()[0],
    )  # fmt: skip
