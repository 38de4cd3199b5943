"""Figures of hubness, near-duplicates and neighbour evidence; each function gives the bytes of one PNG."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tasks.retrieval.analyses.hubness import Hubness, biggest_hubs, expected_counts
from tasks.retrieval.analyses.near_duplicates import LEAST_CORRELATION, NearDuplicate
from tasks.retrieval.analyses.neighbour_evidence import CONFIDENCE, SIGNS, ErrorDetection
from tasks.shared.estimates import Estimate, format_estimate
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
    class_colors,
    column_edge,
    frames,
    image_grid,
    new_figure,
    render_png,
    sentence,
    short_name,
)

_STRIP = MOST_COLUMNS  # hubs shown, and antihubs
_HISTOGRAM = 1.9  # inches
_SIGN_COLORS = dict(zip(SIGNS, (MUTED, CLASS_COLORS[0], GOOD), strict=True))


def hubness_overview(
    hubness: Hubness, images: NDArray[np.uint8], class_names: Sequence[str], *, source: Source
) -> bytes:
    """Draw how often images are found beside what random neighbours would give, the biggest hubs and some antihubs.

    Args:
        hubness: of `tasks.retrieval.analyses.hubness.measure_hubness`.
        images: of the gallery in the order of `hubness.ids`, shape (items, height, width) or (items, height, width, 3),
            0–255.
        class_names: by label.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    colors = class_colors(len(class_names))
    hubs, antihubs = biggest_hubs(hubness, _STRIP), np.flatnonzero(hubness.antihubs)
    strips = [
        (int(hubness.hubs.sum()), "hubs, the biggest first (bad: by queries of another class)", hubs),
        (len(antihubs), "antihubs, found by no query", antihubs[:_STRIP]),
    ]
    side = cell_width(_STRIP)
    strip = side + 0.32 + caption_height(["\n\n"])
    sheet = Sheet(_HISTOGRAM + strip * len(strips))
    height = sheet.figure.get_figheight()
    _occurrence_histogram(sheet.figure.add_axes((0.08, 1 - (_HISTOGRAM - 0.5) / height, 0.9, 1.35 / height)), hubness)
    names = [short_name(name, caption_letters(side)) for name in class_names]
    for place, (count, kind, shown) in enumerate(strips):
        top = _HISTOGRAM + strip * place
        heading = f"{len(shown)} of {count} {kind}" if count else f"no {kind.split(',')[0]}"
        sheet.text(column_edge(0, _STRIP), top, heading, fontsize=TEXT + 0.5)
        for column, image in enumerate(shown):
            label, found = hubness.labels[image], hubness.occurrences[image]
            bad = f"\n{hubness.bad_occurrences[image]} of them bad" if found else ""
            x = column_edge(column, _STRIP)
            sheet.image(images[image], x, top + 0.22, side, frame=colors[label])
            sheet.text(x, top + 0.27 + side, f"#{hubness.ids[image]}: found {found}×\n{names[label]}{bad}")
    return render_png(
        sheet.figure, source, title=f"How often an image is among the {hubness.k} nearest of a query",
        shown=f"test, {len(hubness.ids)} images", legend=frames(colors, class_names),
    )  # fmt: skip


def near_duplicate_pairs(
    pairs: Sequence[NearDuplicate],
    images: Mapping[str, NDArray[np.uint8]],
    class_names: Sequence[str],
    *,
    limit: int = 40,
    source: Source,
) -> bytes:
    """Draw near-duplicates side by side, those of different labels first.

    Args:
        pairs: of `tasks.retrieval.analyses.near_duplicates.find_near_duplicates`.
        images: by split, each of shape (images, height, width) or (images, height, width, 3), 0–255.
        class_names: by label.
        limit: most pairs to draw.
        source: what it is made from.

    Returns:
        PNG bytes; a sentence where there is no pair.
    """
    shown, searched = pairs[:limit], ", ".join(f"{split} {len(images[split])}" for split in images)
    if not shown:
        text = f"No two images correlate at {LEAST_CORRELATION} or more."
        return render_png(sentence(text), source, title="Near-duplicates", shown=searched)
    identical = sum(pair.identical for pair in pairs)
    contradictory = sum(pair.contradictory for pair in pairs)
    letters = caption_letters(cell_width(MOST_COLUMNS))
    pictures, captions = [], []
    for pair in shown:
        for place in (pair.first, pair.second):
            pictures.append(images[place.split][place.index])
            name = short_name(class_names[place.label], letters)
            captions.append(f"{place.split} #{place.index}\n{name}\nr = {pair.correlation:.3f}")
    figure = image_grid(
        np.array(pictures),
        captions,
        columns=MOST_COLUMNS,
        frame_colors=[BAD if pair.contradictory else MUTED for pair in shown for _ in range(2)],
    )
    return render_png(
        figure, source,
        title=f"{len(shown)} of {len(pairs)} pairs of near-duplicates, side by side; {identical} are identical, "
        f"{contradictory} have different labels",
        shown=searched, legend=frames((MUTED, BAD), ("both have the same label", "their labels differ")),
    )  # fmt: skip


def error_detection(detection: ErrorDetection, *, source: Source) -> bytes:
    """Draw how well confidence, neighbours and both find the classifier's errors.

    Args:
        detection: of `tasks.retrieval.analyses.neighbour_evidence.detect_errors`.
        source: what it is made from.

    Returns:
        PNG bytes; a sentence where there are no errors or nothing else.
    """
    from sklearn.metrics import roc_curve

    errors, images = int(detection.wrong.sum()), len(detection.wrong)
    if not 0 < errors < images:
        text = f"{errors} of {images} images are misclassified: nothing to tell apart."
        return render_png(sentence(text), source, title="What finds errors?", shown=f"test, {images} images")
    figure = new_figure(3.2)
    curves, bars = figure.subplots(1, 2)
    for name, sign in detection.signs.items():
        false_alarms, found, _ = roc_curve(detection.wrong, -sign)
        curves.plot(false_alarms, found, color=_SIGN_COLORS[name], lw=1.6, label=SIGNS[name])
    curves.plot([0, 1], [0, 1], color="black", ls=":", lw=1, label="chance")
    curves.set(xlabel="share of correct predictions that raise an alarm", ylabel="share of errors found")
    curves.set_title("ROC curves")
    curves.grid(alpha=0.25)

    rates: list[tuple[str, str, Estimate]] = [(name, SIGNS[name], area) for name, area in detection.areas.items()]
    for position, (name, label, rate) in enumerate(rates):
        bars.plot([rate.low, rate.high], [position, position], color=_SIGN_COLORS[name], lw=2)
        bars.plot(rate.value, position, "o", color=_SIGN_COLORS[name])
        gain = "" if name == CONFIDENCE else f"\ndifference {_signed(detection.gains[name])}"
        bars.annotate(
            f"{label}\n{format_estimate(rate)}{gain}", (0.02, position - 0.12), xycoords=("axes fraction", "data"),
            va="bottom", fontsize=SMALL, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    bars.set_ylim(len(rates) - 0.6, -0.75)
    bars.set_yticks([])
    bars.axvline(0.5, color="black", ls=":", lw=1)
    bars.set_xlim(np.nanmin([0.45, *(rate.low for _, _, rate in rates)]) - 0.02, 1.0)
    bars.set_xlabel("area under the curve (.5 is chance)")
    bars.set_title("areas with 95 % intervals")
    bars.grid(alpha=0.25, axis="x")
    return render_png(
        figure, source, title=f"What finds the {errors} errors among {images} images?", shown=f"test, {images} images",
        legend=curves.get_legend_handles_labels()[0],
    )  # fmt: skip


def _occurrence_histogram(axis: Any, hubness: Hubness) -> None:
    largest = int(hubness.occurrences.max())
    edges = np.arange(largest + 2) - 0.5
    axis.hist(hubness.occurrences, edges, color=CLASS_COLORS[0], alpha=0.6, label="measured")
    axis.plot(expected_counts(hubness, largest), color="black", lw=1.2, ds="steps-mid", label="random neighbours")
    axis.axvline(hubness.hub_level, color=BAD, ls="--", lw=1.2, label="hubs are to the right")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="queries that find it (k-occurrence)", ylabel="images")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False)


def _signed(rate: Estimate) -> str:
    return f"{rate.value:+.3f} ({rate.low:+.3f} to {rate.high:+.3f})".replace("-", "−")
