"""The classifier at its operating point: its scores, other thresholds beside it, and which class is taken for which."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.classification.metrics import confusion_counts, score, score_with_intervals
from tasks.classification.trust.calibration import RULES, best_accuracy_threshold, class_count, decide

SEED = 0  # of the bootstrap


class Evaluation(NamedTuple):
    """Scores of both splits at the same threshold.

    Attributes:
        metrics: `val/…` and `test/…`, each with `_ci_low` and `_ci_high`.
        validation: those of validation, without the prefix.
        operating_points: as in `EvaluationRecord`; the oracle last.
        predicted: class of each test image, shape (images,).
        confusion: of test, as `confusion_counts`.
    """

    metrics: dict[str, float]
    validation: dict[str, float]
    operating_points: tuple[dict[str, Any], ...]
    predicted: NDArray[np.int64]
    confusion: NDArray[np.int64]


def evaluate(
    splits: Mapping[str, tuple[NDArray[np.floating], NDArray[np.integer]]],
    rule: str | None,
    thresholds: Mapping[str, float],
    samples: int,
    graded: bool = False,
) -> Evaluation:
    """Score validation and test.

    Args:
        splits: calibrated probabilities, shape (images,) or (images, classes), and labels, shape (images,), of `val`
            and `test`.
        rule: the rule of the threshold in use; None for more than two classes.
        thresholds: by rule; empty for more than two classes.
        samples: number of bootstrap samples.
        graded: whether the classes are grades.

    Returns:
        The scores.
    """
    threshold = None if rule is None else thresholds[rule]
    scores = {
        split: score_with_intervals(probabilities, labels, threshold, samples=samples, seed=SEED, graded=graded)
        for split, (probabilities, labels) in splits.items()
    }
    test, labels = splits["test"]
    rules = sorted(thresholds, key=lambda name: name != rule)  # the one in use first
    points = [(RULES[name].description, thresholds[name], True) for name in rules]
    if threshold is not None:
        points.append(("oracle, best accuracy", best_accuracy_threshold(test, labels), False))
    predicted = decide(test, threshold)
    return Evaluation(
        metrics={f"{split}/{name}": value for split in splits for name, value in scores[split].items()},
        validation=scores["val"],
        operating_points=tuple(
            {"name": name, "threshold": value, "scores": score(test, labels, value), "is_result": is_result}
            for name, value, is_result in points
        ),
        predicted=predicted,
        confusion=confusion_counts(predicted, labels, class_count(test)),
    )
