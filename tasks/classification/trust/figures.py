"""Figures of how far the classifier can be trusted; each function gives the bytes of one PNG."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.classification.log_odds import log_odds, log_odds_of_truth
from tasks.classification.trust.conformal import ConformalReport
from tasks.classification.trust.failure_analysis import BORDERLINE, KINDS, FailureAnalysis, Neighbourhood
from tasks.classification.trust.label_audit import LabelAudit
from tasks.classification.trust.shift import ClassShift, SplitOutputs
from tasks.shared.figures import (
    BAD,
    CLASS_COLORS,
    GOOD,
    MUTED,
    class_colors,
    image_sheet,
    new_figure,
    render_png,
    short_name,
)

KIND_COLORS = dict(zip(KINDS, ("#7b3fa0", "#e08a1e", BAD, "#111827"), strict=True))


def conformal_coverage(report: ConformalReport, *, phantoms: bool) -> bytes:
    """Draw the coverage of every class beside the promised level.

    Args:
        report: of `tasks.classification.trust.conformal.evaluate_conformal`.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    levels = sorted({row.level for row in report.test})
    names = [short_name(name, 18) for name in report.calibration_images]
    positions, crowded = np.arange(len(names)), len(names) > 4
    figure = new_figure(max(3.2, 0.65 * len(names)) * len(levels) + 2, 3.8)
    panels: Any = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for axis, level in zip(panels, levels, strict=True):
        axis.axhline(level, color=GOOD, ls="--", lw=1.2, label="promised")
        for split, rows, offset, color in (
            ("validation,\ncross-fitted", report.validation, -0.18, MUTED),
            ("test", report.test, 0.18, CLASS_COLORS[0]),
        ):
            rates = [row.coverage for row in rows if row.level == level]
            values, low, high = (np.array([rate[part] for rate in rates]) for part in range(3))
            # Rounding may leave a bound a hair on the wrong side of its value.
            bars = np.maximum([values - low, high - values], 0)
            axis.errorbar(positions + offset, values, bars, fmt="o", ms=5, color=color, capsize=4, label=split)
        for position, row in enumerate(row for row in report.test if row.level == level):
            label = "expected on test\nwithout a shift" if position == 0 else None
            spread = [position + 0.03, position + 0.33]
            axis.fill_between(spread, *row.expected, color=GOOD, alpha=0.25, lw=0, zorder=0, label=label)
            if row.broken:
                axis.text(position + 0.18, 1.01, "broken", color=BAD, ha="center", va="bottom", fontsize=7)
        axis.set_xticks(positions, names, rotation=30 if crowded else 0, ha="right" if crowded else "center")
        axis.set_xlim(-0.5, len(names) - 0.5)
        axis.set_title(f"promised: {level:.0%}", fontsize=10)
        axis.grid(alpha=0.3, axis="y")
    panels[0].set_ylim(top=1.06)
    panels[0].set_ylabel("share of images whose set\nholds the true class")
    figure.suptitle("conformal sets: coverage by class, with 95 % intervals", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return render_png(figure, phantoms=phantoms)


def score_shift(
    validation: SplitOutputs,
    test: SplitOutputs,
    shifts: Sequence[ClassShift],
    threshold: float | None,
    *,
    phantoms: bool,
) -> bytes:
    """Draw the distribution of scores of every class on validation and test.

    Args:
        validation: one split.
        test: the other.
        shifts: of `tasks.classification.trust.shift.measure_shift` for the same splits.
        threshold: probability of class 1 from which it is predicted; None where the likeliest class is.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    columns = min(3, len(shifts))
    rows = -(-len(shifts) // columns)
    figure = new_figure(4.2 * columns, 3.1 * rows + 0.5)
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
            axis.hist(own, edges, weights=weights, color=color, alpha=0.5, label=f"{name} ({len(own)})")
            axis.hist(own, edges, weights=weights, histtype="step", color=color)
        boundary = 0.0 if threshold is None else float(log_odds(threshold)) * (1 if label else -1)
        axis.axvline(boundary, color="black", ls="--", lw=1)
        axis.set_title(
            f"{short_name(shift.name, 22)}: correct {shift.validation_rate.value:.1%} → "
            f"{shift.test_rate.value:.1%}\n"
            f"distance of the scores (KS) {shift.score_distance:.2f}",
            fontsize=9,
        )
        axis.set_xlabel("log-odds of the true class")
        axis.set_ylabel("share of images")
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    left = "the true class has less than half" if threshold is None else "the image is misclassified"
    figure.suptitle(f"scores on validation and test; left of the dashed line {left}", fontsize=10)
    return render_png(figure, phantoms=phantoms)


def label_issue_sheet(audit: LabelAudit, images: NDArray[np.uint8], *, limit: int = 32, phantoms: bool) -> bytes:
    """Draw the images whose labels are most in doubt.

    Args:
        audit: of `tasks.classification.trust.label_audit.audit_labels`.
        images: those that were audited, shape (images, height, width) or (images, height, width, 3), 0–255.
        limit: most images to draw.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes; a sentence where no label is in doubt.
    """
    shown = audit.issues[:limit]
    names = [short_name(name, 18) for name in audit.class_names]
    figure = image_sheet(
        images[[issue.index for issue in shown]],
        [
            f"#{issue.index}  quality {issue.quality:.3f}\n{names[issue.given]}\n→ {names[issue.suggested]}?"
            for issue in shown
        ],
        frame_colors=[class_colors(len(names))[issue.given] for issue in shown],
        title=f"the {len(shown)} most doubtful of {len(audit.issues)} labels in doubt",
        empty=f"No label in doubt among {len(images)} images.",
    )
    return render_png(figure, phantoms=phantoms)


def near_duplicate_sheet(audit: LabelAudit, images: NDArray[np.uint8], *, limit: int = 24, phantoms: bool) -> bytes:
    """Draw pairs of near-duplicates side by side: those of different labels first.

    Args:
        audit: of `tasks.classification.trust.label_audit.audit_labels`.
        images: those that were audited, shape (images, height, width) or (images, height, width, 3), 0–255.
        limit: most pairs to draw.
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes; a sentence where there is no pair.
    """
    shown = audit.duplicates[:limit]
    names = [short_name(name, 18) for name in audit.class_names]
    captions = []
    for pair in shown:
        captions += [f"#{pair.first}  {names[pair.labels[0]]}\nr = {pair.similarity:.3f}"]
        captions += [f"#{pair.second}  {names[pair.labels[1]]}\n"]
    figure = image_sheet(
        images[[index for pair in shown for index in (pair.first, pair.second)]],
        captions,
        frame_colors=[BAD if pair.contradictory else MUTED for pair in shown for _ in range(2)],
        title=f"{len(shown)} of {len(audit.duplicates)} pairs of near-duplicates; red: different labels",
        empty=f"No near-duplicates among {len(images)} images.",
    )
    return render_png(figure, phantoms=phantoms)


def failure_overview(
    analysis: FailureAnalysis, around: Neighbourhood, confidence: NDArray[np.floating], *, phantoms: bool
) -> bytes:
    """Draw what deferring unsure images gains, and where the errors lie by confidence and neighbourhood.

    Args:
        analysis: of `tasks.classification.trust.failure_analysis.analyse_failures`.
        around: the neighbourhood it was made of.
        confidence: of `tasks.classification.trust.failure_analysis.confidences`, shape (images,).
        phantoms: whether the data are drawn phantoms.

    Returns:
        PNG bytes.
    """
    figure = new_figure(11, 4.2)
    curve, scatter = figure.subplots(1, 2)
    risk = np.array(analysis.risk)
    coverage = np.arange(1, len(risk) + 1) / len(risk)
    curve.plot(coverage, risk, color=CLASS_COLORS[0], label=f"by confidence (area {analysis.area_under_risk:.4f})")
    curve.axhline(risk[-1], ls=":", color=MUTED, label=f"random order ({risk[-1]:.4f})")
    best = np.maximum(0, coverage - (1 - risk[-1])) / coverage
    curve.plot(coverage, best, color=GOOD, ls="--", lw=1, label=f"best order (area {analysis.area_at_best:.4f})")
    curve.set(xlabel="coverage: share of images that the classifier decides", ylabel="share of errors among them")
    curve.set_title("risk–coverage: the least sure are handed to a person", fontsize=10)
    curve.set_ylim(bottom=0)
    curve.grid(alpha=0.3)
    curve.legend(fontsize=8, loc="upper left")
    scatter.scatter(
        confidence, around.share_of_predicted, s=8, color=MUTED, alpha=0.25, lw=0, label="classified correctly"
    )
    for kind, color in KIND_COLORS.items():
        of_kind = [failure for failure in analysis.failures if failure.kind == kind]
        scatter.scatter(
            [failure.confidence for failure in of_kind], [failure.share_of_predicted for failure in of_kind],
            s=24, color=color, marker="X", lw=0.4, edgecolor="white", label=f"{kind} ({len(of_kind)})",
        )  # fmt: skip
    scatter.axvline(BORDERLINE, color=MUTED, ls=":", lw=1)
    scatter.set(
        xlabel="confidence of the classifier", ylabel="training neighbours of the predicted class", ylim=(-0.05, 1.05)
    )
    scatter.set_title("errors by confidence and neighbourhood", fontsize=10)
    scatter.grid(alpha=0.3)
    figure.legend(*scatter.get_legend_handles_labels(), loc="outside lower right", ncols=5, fontsize=8)
    return render_png(figure, phantoms=phantoms)
