"""The markdown report of the classification stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.markdown import Markdown, escape
from tasks.classification.metrics import METRICS
from tasks.shared.markdown import document, table

MISTAKES_NAMED = 3


@dataclass(frozen=True)
class SplitCounts:
    """How many images a split holds.

    Attributes:
        name: of the split.
        counts: images of each class.
        excluded: images that were left out, because another split holds the same pixels.
    """

    name: str
    counts: Sequence[int]
    excluded: int = 0


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold between two classes and what it gives on test.

    Attributes:
        name: how the threshold was chosen, and on what.
        threshold: probability from which class 1 is called.
        scores: of `tasks.classification.metrics.score` on test at this threshold.
        is_result: whether test had no part in the choice.
    """

    name: str
    threshold: float
    scores: Mapping[str, float]
    is_result: bool = True


def classification_report(
    *,
    class_names: Sequence[str],
    protocol: Sequence[tuple[str, str]],
    splits: Sequence[SplitCounts],
    test_scores: Mapping[str, float],
    val_scores: Mapping[str, float],
    operating_points: Sequence[OperatingPoint],
    confusion: Sequence[Sequence[int]],
    sections: Sequence[tuple[str, str]] = (),
    phantoms: bool,
) -> str:
    """Write the report.

    Args:
        class_names: name of each class.
        protocol: pairs of what was decided (best epoch, temperature, threshold …) and how.
        splits: image counts.
        test_scores: each metric of test, with `_ci_low` and `_ci_high`.
        val_scores: each metric of validation, at the same threshold.
        operating_points: thresholds side by side, the one in use first; empty for more than two classes.
        confusion: image counts of test, rows by true class, columns by predicted class.
        sections: pairs of heading and markdown that follow the report's own.
        phantoms: whether the data are drawn phantoms.

    Returns:
        Markdown.
    """
    body = [
        ("Protocol", table(("decided", "how"), protocol)),
        ("Data", _data(class_names, splits)),
        ("Test scores", _test_scores(class_names, test_scores, val_scores)),
    ]
    if operating_points:
        body.append(("Operating points on test", _operating_points(operating_points)))
    body.append(("Confusion matrix on test", _confusion(class_names, confusion)))
    return document("Classification", [*body, *sections], phantoms=phantoms)


def _data(class_names: Sequence[str], splits: Sequence[SplitCounts]) -> str:
    totals = [sum(split.counts) for split in splits]
    rows: list[tuple[object, ...]] = [
        (name, *(f"{split.counts[number]} ({split.counts[number] / max(1, total):.1%})"
                 for split, total in zip(splits, totals, strict=True)))
        for number, name in enumerate(class_names)
    ]  # fmt: skip
    rows += [("all", *totals), ("left out, since another split holds them", *(split.excluded for split in splits))]
    return table(("class", *(split.name for split in splits)), rows)


def _test_scores(class_names: Sequence[str], test_scores: Mapping[str, float], val_scores: Mapping[str, float]) -> str:
    rows = [
        (
            name.replace("_", " "),
            test_scores[name],
            f"{test_scores[f'{name}_ci_low']:.3f} – {test_scores[f'{name}_ci_high']:.3f}",
            val_scores[name],
        )
        for name in METRICS
    ]
    meaning = (
        f"Precision, recall, specificity, F1 and average precision are of the class “{escape(class_names[1])}”."
        if len(class_names) == 2
        else "AUC, precision, recall, specificity, F1 and average precision are means over the classes, each against "
        "the rest; the ECE is of the called class."
    )
    return (
        table(("metric", "test", "95 % interval", "validation"), rows)
        + f"\n{meaning} The intervals are from a percentile bootstrap over the test images; they do not cover the "
        "variation between training seeds."
    )


def _operating_points(points: Sequence[OperatingPoint]) -> str:
    columns = ("accuracy", "balanced_accuracy", "recall", "specificity", "precision", "f1")
    rows = [
        (
            point.name if point.is_result else Markdown(f"*{escape(point.name)}: tuned on test, not a result*"),
            point.threshold,
            *(point.scores[column] for column in columns),
        )
        for point in points
    ]
    return table(("threshold chosen by", "threshold", *(column.replace("_", " ") for column in columns)), rows)


def _confusion(class_names: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    rows = [
        (name, *counts, counts[number] / max(1, sum(counts)))
        for number, (name, counts) in enumerate(zip(class_names, confusion, strict=True))
    ]
    mistakes = [
        (count, class_names[truth], class_names[called])
        for truth, counts in enumerate(confusion)
        for called, count in enumerate(counts)
        if count and truth != called
    ]
    errors, images = sum(count for count, _, _ in mistakes), sum(map(sum, confusion))
    sentence = f"{errors} of {images} test images are called the wrong class"
    if mistakes:
        most = sorted(mistakes, key=lambda mistake: -mistake[0])[:MISTAKES_NAMED]
        start = "" if len(most) == len(mistakes) else "most often "
        sentence += f": {start}" + ", ".join(
            f"{count} × “{escape(truth)}” as “{escape(called)}”" for count, truth, called in most
        )
    return table(("true", *(f"called {name}" for name in class_names), "recall"), rows) + f"\n{sentence}."
