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
from tasks.shared.figures import BAD, CLASS_COLORS, GOOD, MUTED, class_colors, new_figure, render_png, without_ticks

_STRIP = 8  # hubs shown, and antihubs
_PAIR_COLUMNS = 5
_SIGN_COLORS = dict(zip(SIGNS, (MUTED, CLASS_COLORS[0], GOOD), strict=True))


def hubness_overview(
    hubness: Hubness, images: NDArray[np.uint8], class_names: Sequence[str], *, phantoms: bool
) -> bytes:
    """Draw how often images are found beside what random neighbours would give, the biggest hubs and some antihubs.

    Args:
        hubness: of `tasks.retrieval.analyses.hubness.measure_hubness`.
        images: of the gallery in the order of `hubness.ids`, shape (items, height, width) or (items, height, width, 3),
            0–255.
        class_names: by label.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    colors = class_colors(len(class_names))
    hubs, antihubs = biggest_hubs(hubness, _STRIP), np.flatnonzero(hubness.antihubs)
    strips = [
        (int(hubness.hubs.sum()), "hubs, the biggest first (bad: by queries of another class)", hubs),
        (len(antihubs), "antihubs, found by no query", antihubs[:_STRIP]),
    ]
    figure = new_figure(9.5, 7.2)
    figure.suptitle(f"How often an image is among the {hubness.k} nearest of a query", fontsize=10)
    parts: Any = figure.subfigures(3, 1, height_ratios=[1.7, 1, 1])
    top, *below = parts
    _occurrence_histogram(top.subplots(), hubness)
    for part, (count, kind, places) in zip(below, strips, strict=True):
        part.suptitle(f"{len(places)} of {count} {kind}" if count else f"no {kind.split(',')[0]}", fontsize=9)
        axes: Any = part.subplots(1, _STRIP)
        for axis in axes[len(places) :]:
            axis.axis("off")
        for axis, place in zip(axes, places, strict=False):
            label, found = hubness.labels[place], hubness.occurrences[place]
            bad = f", {hubness.bad_occurrences[place]} bad" if found else ""
            _thumbnail(
                axis, images[place], f"#{hubness.ids[place]}  {class_names[label]}\nfound {found}×{bad}", colors[label]
            )
    return render_png(figure, phantoms=phantoms)


def near_duplicate_pairs(
    pairs: Sequence[NearDuplicate],
    images: Mapping[str, NDArray[np.uint8]],
    class_names: Sequence[str],
    *,
    limit: int = 40,
    phantoms: bool,
) -> bytes:
    """Draw near-duplicates side by side, those of different labels first.

    Args:
        pairs: of `tasks.retrieval.analyses.near_duplicates.find_near_duplicates`.
        images: by split, each of shape (images, height, width) or (images, height, width, 3), 0–255.
        class_names: by label.
        limit: most pairs to draw.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes; a sentence where there is no pair.
    """
    shown = pairs[:limit]
    if not shown:
        return _sentence(f"No two images correlate at {LEAST_CORRELATION} or more.", phantoms=phantoms)
    columns = min(_PAIR_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(max(2.1 * columns, 7.0), 1.4 * rows + 0.7)
    identical = sum(pair.identical for pair in pairs)
    contradictory = sum(pair.contradictory for pair in pairs)
    figure.suptitle(
        f"Near-duplicates: {len(shown)} of {len(pairs)} pairs; {identical} are identical, {contradictory} have "
        f"different labels{' (red)' if contradictory else ''}",
        fontsize=10,
    )
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    for axis, pair in zip(axes.flat, shown, strict=False):
        left, right = (images[place.split][place.index] for place in (pair.first, pair.second))
        gap = np.full((left.shape[0], 1, *left.shape[2:]), 255, dtype=np.uint8)
        both = (pair.first, pair.second)
        labels = " / ".join(dict.fromkeys(class_names[place.label] for place in both))
        caption = (
            " | ".join(f"{place.split} #{place.index}" for place in both) + f"\n{labels}, r = {pair.correlation:.3f}"
        )
        _thumbnail(axis, np.hstack([left, gap, right]), caption, BAD if pair.contradictory else MUTED)
    return render_png(figure, phantoms=phantoms)


def error_detection(detection: ErrorDetection, *, phantoms: bool) -> bytes:
    """Draw how well confidence, neighbours and both find the classifier's errors.

    Args:
        detection: of `tasks.retrieval.analyses.neighbour_evidence.detect_errors`.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes; a sentence where there are no errors or nothing else.
    """
    from sklearn.metrics import roc_curve

    errors, images = int(detection.wrong.sum()), len(detection.wrong)
    if not 0 < errors < images:
        return _sentence(
            f"{errors} of {images} images are predicted wrongly: nothing to tell apart.", phantoms=phantoms
        )
    figure = new_figure(10.5, 4.4)
    figure.suptitle(f"What finds the {errors} errors among {images} images?", fontsize=10)
    curves, bars = figure.subplots(1, 2, width_ratios=[1.15, 1])
    for name, sign in detection.signs.items():
        false_alarms, found, _ = roc_curve(detection.wrong, -sign)
        curves.plot(false_alarms, found, color=_SIGN_COLORS[name], lw=1.6, label=SIGNS[name])
    curves.plot([0, 1], [0, 1], color="black", ls=":", lw=1, label="chance")
    curves.set(xlabel="share of right predictions that raise an alarm", ylabel="share of errors found")
    curves.set_title("ROC curves", fontsize=9)
    curves.grid(alpha=0.25)
    curves.legend(loc="lower right", fontsize=8, frameon=False)

    rates: list[tuple[str, str, Estimate]] = [(name, SIGNS[name], area) for name, area in detection.areas.items()]
    for position, (name, label, rate) in enumerate(rates):
        bars.plot([rate.low, rate.high], [position, position], color=_SIGN_COLORS[name], lw=2)
        bars.plot(rate.value, position, "o", color=_SIGN_COLORS[name])
        gain = "" if name == CONFIDENCE else f"\ndifference {_signed(detection.gains[name])}"
        bars.annotate(
            f"{label}: {format_estimate(rate)}{gain}", (0.02, position - 0.16), xycoords=("axes fraction", "data"),
            fontsize=8, va="bottom", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    bars.set_ylim(len(rates) - 0.6, -0.75)
    bars.set_yticks([])
    bars.axvline(0.5, color="black", ls=":", lw=1)
    bars.set_xlim(np.nanmin([0.45, *(rate.low for _, _, rate in rates)]) - 0.02, 1.0)
    bars.set_xlabel("area under the curve (.5 is chance)")
    bars.set_title("areas with 95 % intervals, differences paired", fontsize=9)
    bars.grid(alpha=0.25, axis="x")
    return render_png(figure, phantoms=phantoms)


def _occurrence_histogram(axis: Any, hubness: Hubness) -> None:
    largest = int(hubness.occurrences.max())
    edges = np.arange(largest + 2) - 0.5
    axis.hist(hubness.occurrences, edges, color=CLASS_COLORS[0], alpha=0.6, label="measured")
    axis.plot(expected_counts(hubness, largest), color="black", lw=1.2, ds="steps-mid", label="random neighbours")
    axis.axvline(hubness.hub_level, color=BAD, ls="--", lw=1.2, label="hubs are to the right")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="queries that find it (k-occurrence)", ylabel="images")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, frameon=False)


def _thumbnail(axis: Any, image: NDArray[np.uint8], caption: str, frame: str) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    axis.set_title(caption, fontsize=6.5)
    without_ticks(axis)
    for spine in axis.spines.values():
        spine.set_linewidth(2)
        spine.set_edgecolor(frame)


def _signed(rate: Estimate) -> str:
    return f"{rate.value:+.3f} ({rate.low:+.3f} to {rate.high:+.3f})".replace("-", "−")


def _sentence(text: str, *, phantoms: bool) -> bytes:
    figure = new_figure(6, 1.6)
    figure.text(0.5, 0.5, text, ha="center")
    return render_png(figure, phantoms=phantoms)
