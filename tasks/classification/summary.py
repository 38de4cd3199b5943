"""The markdown report of the classification stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.classification.metrics import METRICS
from tasks.shared.markdown import document, table


@dataclass(frozen=True)
class SplitCounts:
    """How many images a split holds.

    Attributes:
        name: of the split.
        normal: images of class 0.
        pneumonia: images of class 1.
        excluded: images that were left out, because another split holds the same pixels.
    """

    name: str
    normal: int
    pneumonia: int
    excluded: int = 0


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it gives on test.

    Attributes:
        name: how the threshold was chosen, and on what.
        threshold: probability from which pneumonia is called.
        scores: of `tasks.classification.metrics.score` on test at this threshold.
        is_result: whether test had no part in the choice.
    """

    name: str
    threshold: float
    scores: Mapping[str, float]
    is_result: bool = True


def classification_report(
    *,
    protocol: Sequence[tuple[str, str]],
    splits: Sequence[SplitCounts],
    test_scores: Mapping[str, float],
    val_scores: Mapping[str, float],
    operating_points: Sequence[OperatingPoint],
    confusion: Sequence[Sequence[int]],
    phantoms: bool,
) -> str:
    """Write the report.

    Args:
        protocol: pairs of what was decided (best epoch, temperature, threshold …) and how.
        splits: image counts.
        test_scores: each metric of test, with `_ci_low` and `_ci_high`.
        val_scores: each metric of validation, at the same threshold.
        operating_points: thresholds side by side, the one in use first.
        confusion: image counts of test, rows by true class, columns by predicted class, normal first.
        phantoms: whether the data are drawn phantoms.

    Returns:
        Markdown.
    """
    (true_negatives, false_positives), (false_negatives, true_positives) = confusion
    images = true_negatives + false_positives + false_negatives + true_positives
    errors = false_positives + false_negatives
    sections = [
        ("Protocol", table(("decided", "how"), protocol)),
        ("Data", table(("split", "normal", "pneumonia", "share of pneumonia", "left out"), map(_split_row, splits))),
        (
            "Test scores",
            table(
                ("metric", "test", "95 % interval", "validation"),
                [
                    (
                        name.replace("_", " "),
                        test_scores[name],
                        f"{test_scores[f'{name}_ci_low']:.3f} – {test_scores[f'{name}_ci_high']:.3f}",
                        val_scores[name],
                    )
                    for name in METRICS
                ],
            )
            + "\nPercentile bootstrap over the test images; it does not cover the variation between training seeds.",
        ),
        ("Operating points on test", _operating_points(operating_points)),
        (
            "Confusion matrix on test",
            table(
                ("true", "called normal", "called pneumonia"),
                [("normal", true_negatives, false_positives), ("pneumonia", false_negatives, true_positives)],
            )
            + f"\n{errors} of {images} test images are called the wrong class: {false_positives} normal ones "
            f"pneumonia, {false_negatives} with pneumonia normal.",
        ),
        ("Shift between validation and test", _shift_note(test_scores, val_scores)),
    ]
    return document("Classification", sections, phantoms=phantoms)


def _split_row(split: SplitCounts) -> tuple[object, ...]:
    share = split.pneumonia / max(1, split.normal + split.pneumonia)
    return split.name, split.normal, split.pneumonia, f"{share:.1%}", split.excluded


def _operating_points(points: Sequence[OperatingPoint]) -> str:
    columns = ("accuracy", "balanced_accuracy", "recall", "specificity", "precision", "f1")
    rows = [
        (
            point.name if point.is_result else f"*{point.name}: tuned on test, not a result*",
            point.threshold,
            *(point.scores[column] for column in columns),
        )
        for point in points
    ]
    return table(("threshold chosen by", "threshold", *(column.replace("_", " ") for column in columns)), rows)


def _shift_note(test_scores: Mapping[str, float], val_scores: Mapping[str, float]) -> str:
    rows = [(name, val_scores[name], test_scores[name]) for name in ("specificity", "recall")]
    change = test_scores["specificity"] - val_scores["specificity"]
    return (
        table(("at the same threshold", "validation", "test"), rows)
        + f"\nSpecificity differs by {change:+.3f} from validation to test, recall by "
        f"{test_scores['recall'] - val_scores['recall']:+.3f}. Both splits differ in the share of pneumonia and in how "
        "their normal images look, so a threshold that is tuned for accuracy on validation does not carry over; "
        "accuracy alone hides it."
    )
