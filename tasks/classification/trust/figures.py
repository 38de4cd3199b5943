"""Figures of how far the classifier can be trusted; each function gives the bytes of one PNG."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.classification.log_odds import log_odds, log_odds_of_truth
from tasks.classification.trust.conformal import ConformalReport
from tasks.classification.trust.failure_analysis import BORDERLINE, KINDS, FailureAnalysis, Neighbourhood
from tasks.classification.trust.label_audit import LabelAudit
from tasks.classification.trust.robustness import SplitRobustness
from tasks.classification.trust.shift import ClassShift, SplitOutputs
from tasks.shared.figures import (
    BAD,
    CLASS_COLORS,
    GOOD,
    MOST_COLUMNS,
    MUTED,
    SMALL,
    Source,
    caption_letters,
    cell_width,
    class_colors,
    frames,
    image_grid,
    new_figure,
    render_png,
    sentence,
    short_name,
)

_LABELS_OF_PAIRS = ("both have the same label", "their labels differ")
KIND_COLORS = dict(zip(KINDS, ("#7b3fa0", "#e08a1e", BAD, "#111827"), strict=True))


def conformal_coverage(report: ConformalReport, *, source: Source) -> bytes:
    """Draw the coverage of every class beside the promised level.

    Args:
        report: of `tasks.classification.trust.conformal.evaluate_conformal`.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    levels = sorted({row.level for row in report.test})
    names = [short_name(name, 18) for name in report.calibration_images]
    positions, crowded = np.arange(len(names)), len(names) > 4
    figure = new_figure(3.2 if crowded else 2.6)
    panels: Any = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for axis, level in zip(panels, levels, strict=True):
        axis.axhline(level, color=GOOD, ls="--", lw=1.2, label="promised")
        for split, rows, offset, color in (
            ("validation, cross-fitted", report.validation, -0.18, MUTED),
            ("test", report.test, 0.18, CLASS_COLORS[0]),
        ):
            rates = [row.coverage for row in rows if row.level == level]
            values, low, high = (np.array([rate[part] for rate in rates]) for part in range(3))
            # Rounding may leave a bound a hair on the wrong side of its value.
            bars = np.maximum([values - low, high - values], 0)
            axis.errorbar(positions + offset, values, bars, fmt="o", ms=5, color=color, capsize=4, label=split)
        for position, row in enumerate(row for row in report.test if row.level == level):
            label = "expected on test without a shift" if position == 0 else None
            spread = [position + 0.03, position + 0.33]
            axis.fill_between(spread, *row.expected, color=GOOD, alpha=0.25, lw=0, zorder=0, label=label)
            if row.broken:
                axis.text(position + 0.18, 1.01, "broken", color=BAD, ha="center", va="bottom", fontsize=SMALL)
        axis.set_xticks(positions, names, rotation=30 if crowded else 0, ha="right" if crowded else "center")
        axis.set_xlim(-0.5, len(names) - 0.5)
        axis.set_title(f"promised: {level:.0%}")
        axis.grid(alpha=0.3, axis="y")
    panels[0].set_ylim(top=1.06)
    panels[0].set_ylabel("share of images whose set\nholds the true class")
    return render_png(
        figure, source, title="Conformal sets: coverage of each class beside the promise, with 95 % intervals",
        shown=f"calibrated on {sum(report.calibration_images.values())} images of val",
        legend=panels[0].get_legend_handles_labels()[0],
    )  # fmt: skip


def score_shift(
    validation: SplitOutputs,
    test: SplitOutputs,
    shifts: Sequence[ClassShift],
    threshold: float | None,
    *,
    source: Source,
) -> bytes:
    """Draw the distribution of scores of every class on validation and test.

    Args:
        validation: one split.
        test: the other.
        shifts: of `tasks.classification.trust.shift.measure_shift` for the same splits.
        threshold: probability of class 1 from which it is predicted; None where the likeliest class is.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    columns = min(2 if len(shifts) % 3 else 3, len(shifts))
    rows = -(-len(shifts) // columns)
    figure = new_figure(2.4 * rows)
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    scores = [log_odds_of_truth(split.probabilities, split.labels) for split in (validation, test)]
    low, high = np.quantile(np.concatenate(scores), [0.002, 0.998])
    edges = np.linspace(low, high, 31)  # what lies outside joins the outermost bars
    for axis in axes.flat[len(shifts) :]:
        axis.axis("off")
    for label, (axis, shift) in enumerate(zip(axes.flat, shifts, strict=False)):
        for name, split, values, color in (
            ("validation", validation, scores[0], MUTED),
            ("test", test, scores[1], CLASS_COLORS[0]),
        ):
            own = np.clip(values[split.labels == label], low, high)
            weights = np.full(len(own), 1 / max(1, len(own)))
            axis.hist(own, edges, weights=weights, color=color, alpha=0.5, label=name)
            axis.hist(own, edges, weights=weights, histtype="step", color=color)
        boundary = 0.0 if threshold is None else float(log_odds(threshold)) * (1 if label else -1)
        axis.axvline(boundary, color="black", ls="--", lw=1)
        axis.set_title(
            f"{short_name(shift.name, 18)}: correct {shift.validation_rate.value:.0%} → {shift.test_rate.value:.0%}\n"
            f"{int((validation.labels == label).sum())} → {int((test.labels == label).sum())} images, "
            f"distance (KS) {shift.score_distance:.2f}"
        )
        axis.set_xlabel("log-odds of the true class")
        axis.set_ylabel("share of images")
        axis.grid(alpha=0.3)
    left = "the true class has less than half" if threshold is None else "the image is misclassified"
    return render_png(
        figure, source, title=f"Scores on validation and test by class; left of the dashed line {left}",
        shown=f"val, {len(validation.labels)} images, and test, {len(test.labels)}",
        legend=axes[0, 0].get_legend_handles_labels()[0],
    )  # fmt: skip


def robustness(splits: Sequence[SplitRobustness], *, source: Source) -> bytes:
    """Draw the balanced error of every corruption and severity, one panel a split.

    Args:
        splits: of `tasks.classification.trust.robustness.measure_robustness`.
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    kinds = list(splits[0].errors)
    figure = new_figure(0.22 * len(kinds) + 1.0)
    panels: Any = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for axis, split in zip(panels, splits, strict=True):
        errors = np.array([split.errors[kind] for kind in kinds])
        axis.imshow(errors, cmap="Reds", vmin=0, vmax=0.5, aspect="auto")
        for (row, column), error in np.ndenumerate(errors):
            axis.text(
                column, row, f"{error:.3f}".lstrip("0"), ha="center", va="center", fontsize=SMALL,
                color="white" if error > 0.3 else "black",
            )  # fmt: skip
        axis.set_xticks(range(errors.shape[1]), range(1, errors.shape[1] + 1))
        axis.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
        axis.set_xlabel("severity")
        axis.set_title(f"{split.split}: mean {split.mean.value:.3f}, as they are {split.clean:.3f}")
    shown = ", ".join(f"{split.split}, {split.images} images" for split in splits)
    return render_png(
        figure, source, title="Balanced error on corrupted images (MedMNIST-C); one half is chance", shown=shown
    )


def label_issue_sheet(audit: LabelAudit, images: NDArray[np.uint8], *, limit: int = 32, source: Source) -> bytes:
    """Draw the images whose labels are most in doubt.

    Args:
        audit: of `tasks.classification.trust.label_audit.audit_labels`.
        images: those that were audited, shape (images, height, width) or (images, height, width, 3), 0–255.
        limit: most images to draw.
        source: what it is made from.

    Returns:
        PNG bytes; a sentence where no label is in doubt.
    """
    shown, images_seen = audit.issues[:limit], f"train, {len(images)} images"
    title = f"The {len(shown)} most doubtful of {len(audit.issues)} labels in doubt, and the label suggested instead"
    if not shown:
        return render_png(sentence(f"No label in doubt among {len(images)} images."), source, title="Labels in doubt",
                          shown=images_seen)  # fmt: skip
    letters = caption_letters(cell_width(MOST_COLUMNS))
    colors, given = class_colors(len(audit.class_names)), sorted({issue.given for issue in shown})
    figure = image_grid(
        images[[issue.index for issue in shown]],
        [
            f"#{issue.index}: {short_name(audit.class_names[issue.given], letters - 7)}\n"
            f"→ {short_name(audit.class_names[issue.suggested], letters - 3)}?\nquality {issue.quality:.3f}"
            for issue in shown
        ],
        columns=MOST_COLUMNS,
        frame_colors=[colors[issue.given] for issue in shown],
    )
    legend = frames(
        [colors[label] for label in given], [f"labelled {short_name(audit.class_names[label])}" for label in given]
    )
    return render_png(figure, source, title=title, shown=images_seen, legend=legend)


def near_duplicate_sheet(audit: LabelAudit, images: NDArray[np.uint8], *, limit: int = 24, source: Source) -> bytes:
    """Draw pairs of near-duplicates side by side: those of different labels first.

    Args:
        audit: of `tasks.classification.trust.label_audit.audit_labels`.
        images: those that were audited, shape (images, height, width) or (images, height, width, 3), 0–255.
        limit: most pairs to draw.
        source: what it is made from.

    Returns:
        PNG bytes; a sentence where there is no pair.
    """
    shown, images_seen = audit.duplicates[:limit], f"train, {len(images)} images"
    title = f"{len(shown)} of {len(audit.duplicates)} pairs of near-duplicates, side by side"
    if not shown:
        return render_png(sentence(f"No near-duplicates among {len(images)} images."), source, title="Near-duplicates",
                          shown=images_seen)  # fmt: skip
    letters, captions = caption_letters(cell_width(MOST_COLUMNS)), []
    for pair in shown:
        for index, label in zip((pair.first, pair.second), pair.labels, strict=True):
            name = short_name(audit.class_names[label], letters - 8)
            captions.append(f"#{index}: {name}\nr = {pair.similarity:.3f}")
    figure = image_grid(
        images[[index for pair in shown for index in (pair.first, pair.second)]],
        captions,
        columns=MOST_COLUMNS,
        frame_colors=[BAD if pair.contradictory else MUTED for pair in shown for _ in range(2)],
    )
    return render_png(figure, source, title=title, shown=images_seen, legend=frames((MUTED, BAD), _LABELS_OF_PAIRS))


def failure_overview(
    analysis: FailureAnalysis, around: Neighbourhood, confidence: NDArray[np.floating], *, source: Source
) -> bytes:
    """Draw what deferring unsure images gains, and where the errors lie by confidence and neighbourhood.

    Args:
        analysis: of `tasks.classification.trust.failure_analysis.analyse_failures`.
        around: the neighbourhood it was made of.
        confidence: of `tasks.classification.trust.failure_analysis.confidences`, shape (images,).
        source: what it is made from.

    Returns:
        PNG bytes.
    """
    figure = new_figure(2.9)
    curve, scatter = figure.subplots(1, 2)
    risk = np.array(analysis.risk)
    coverage = np.arange(1, len(risk) + 1) / len(risk)
    curve.plot(coverage, risk, color=CLASS_COLORS[0], label=f"by confidence (area {analysis.area_under_risk:.4f})")
    curve.axhline(risk[-1], ls=":", color=MUTED, label=f"random order ({risk[-1]:.4f})")
    best = np.maximum(0, coverage - (1 - risk[-1])) / coverage
    curve.plot(coverage, best, color=GOOD, ls="--", lw=1, label=f"best order (area {analysis.area_at_best:.4f})")
    curve.set(xlabel="coverage: share of images it decides", ylabel="share of errors among them")
    curve.set_title("risk–coverage: the least sure are handed on")
    curve.set_ylim(bottom=0)
    curve.grid(alpha=0.3)
    curve.legend(loc="upper left", framealpha=0.7)
    scatter.scatter(confidence, around.share_of_predicted, s=8, color=MUTED, alpha=0.25, lw=0, label="correct")
    for kind, color in KIND_COLORS.items():
        of_kind = [failure for failure in analysis.failures if failure.kind == kind]
        scatter.scatter(
            [failure.confidence for failure in of_kind], [failure.share_of_predicted for failure in of_kind],
            s=24, color=color, marker="X", lw=0.4, edgecolor="white", label=f"{kind} ({len(of_kind)})",
        )  # fmt: skip
    scatter.axvline(BORDERLINE, color=MUTED, ls=":", lw=1)
    scatter.set(
        xlabel="confidence of the classifier", ylabel="share of neighbours of the predicted class", ylim=(-0.05, 1.05)
    )
    scatter.set_title("errors by confidence and neighbourhood")
    scatter.grid(alpha=0.3)
    return render_png(
        figure, source, title="What it gains to hand unsure images to a person, and where the errors lie",
        shown=f"test, {len(risk)} images", legend=scatter.get_legend_handles_labels()[0],
    )  # fmt: skip
