"""The classifier at its operating point: its scores, other thresholds beside it, and which class is taken for which."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.classification.metrics import confusion_counts, score, score_with_intervals
from tasks.classification.trust.calibration import RULES, best_accuracy_threshold, class_count, decide

SEED = 0  # of the bootstrap


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold between two classes and what it gives on test.

    Attributes:
        name: how the threshold was chosen, and on what.
        threshold: probability from which class 1 is predicted.
        scores: of `tasks.classification.metrics.score` on test at this threshold.
        is_result: whether test had no part in the choice.
    """

    name: str
    threshold: float
    scores: Mapping[str, float]
    is_result: bool = True


@dataclass(frozen=True)
class Evaluation:
    """Scores of both splits at the same threshold.

    Attributes:
        metrics: `val/…` and `test/…`, each with `_ci_low` and `_ci_high`.
        validation: those of validation, without the prefix.
        operating_points: of two classes, the one in use first and the oracle last.
        predicted: class of each test image, shape (images,).
        confusion: test images, rows by true class, columns by predicted class.
    """

    metrics: dict[str, float]
    validation: dict[str, float]
    operating_points: tuple[OperatingPoint, ...]
    predicted: NDArray[np.int64]
    confusion: NDArray[np.int64]


def evaluate(
    splits: Mapping[str, tuple[NDArray[np.floating], NDArray[np.integer]]],
    rule: str | None,
    thresholds: Mapping[str, float],
    samples: int,
) -> Evaluation:
    """Score validation and test.

    Args:
        splits: calibrated probabilities, shape (images,) or (images, classes), and labels, shape (images,), of `val`
            and `test`.
        rule: the rule of the threshold in use; None for more than two classes.
        thresholds: by rule; empty for more than two classes.
        samples: number of bootstrap samples.

    Returns:
        The scores.
    """
    threshold = None if rule is None else thresholds[rule]
    scores = {
        split: score_with_intervals(probabilities, labels, threshold, samples=samples, seed=SEED)
        for split, (probabilities, labels) in splits.items()
    }
    test, labels = splits["test"]
    points = [
        OperatingPoint(RULES[name].description, thresholds[name], score(test, labels, thresholds[name]))
        for name in sorted(thresholds, key=lambda name: name != rule)  # the one in use first
    ]
    if threshold is not None:
        best = best_accuracy_threshold(test, labels)
        points.append(OperatingPoint("oracle, best accuracy", best, score(test, labels, best), is_result=False))
    predicted = decide(test, threshold)
    return Evaluation(
        metrics={f"{split}/{name}": value for split in splits for name, value in scores[split].items()},
        validation=scores["val"],
        operating_points=tuple(points),
        predicted=predicted,
        confusion=confusion_counts(predicted, labels, class_count(test)),
    )
