"""Scores of a classifier, for one split or for a thousand bootstrap samples of it at once."""

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from tasks.classification.trust.calibration import check_every_class, class_count, decide
from tasks.shared.auc import auc_of_counts, tied_counts
from tasks.shared.bootstrap import interval, resample
from tasks.shared.calibration_error import calibration_error

METRICS = (
    "auc", "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "average_precision", "ece",
    "brier",
)  # fmt: skip
KAPPA = "quadratic_kappa"
"""The metric that only classes which are grades have beside `METRICS`."""
BLOCK_SIZE = 4_000_000  # cells of samples × images at once, which bounds the memory: a few hundred MB


def score(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float | None
) -> dict[str, float]:
    """Score predictions.

    Args:
        probabilities: shape (images,) for two classes, of class 1; else (images, classes).
        labels: 0 … classes - 1, shape (images,).
        threshold: of two classes, class 1 is predicted where its probability is at least this; None for more, of which
            the likeliest is predicted.

    Returns:
        Each of `METRICS`, in [0, 1]. For two classes they are of class 1, and precision and F1 are 0 where it is never
        predicted. For more, all but `accuracy`, `ece` and `brier` are the mean over the classes, each against the rest
        (macro averages), so `balanced_accuracy` is `recall`; precision and F1 of a class that is never predicted are 0.

        `ece` is the expected calibration error in 15 bins of equal width. For two classes it is that of the
        probability of class 1 (Naeini et al., 2015, in the form for one class: the mean distance between the mean
        probability of a bin and its share of the class), which does not depend on the threshold. For more it is that
        of the predicted class (Guo et al., 2017). `brier` is the mean squared error of the probability of class 1; for
        more classes the sum over the classes is halved, which is the same for two and keeps it in [0, 1].

    Raises:
        InputError: the shapes differ or do not fit the threshold, a class is missing, or a probability is outside
            [0, 1].
    """
    probabilities = _checked(probabilities, labels)
    counts = np.ones((1, len(labels)))
    return {name: float(values[0]) for name, values in _scores(probabilities, labels, threshold, counts).items()}


def score_with_intervals(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    threshold: float | None,
    *,
    samples: int = 1000,
    seed: int = 0,
    graded: bool = False,
) -> dict[str, float]:
    """Score predictions, with 95 % percentile bootstrap intervals over the images.

    Args:
        probabilities: as `score`.
        labels: 0 … classes - 1, shape (images,).
        threshold: as `score`.
        samples: number of bootstrap samples.
        seed: seed of the resampling.
        graded: whether the classes are grades, which adds `KAPPA`.

    Returns:
        Each of `METRICS`, and under its name with `_ci_low` and `_ci_high` the bounds of its interval.

    Raises:
        InputError: as `score`.
    """
    result = score(probabilities, labels, threshold)
    resampled = bootstrap_scores(probabilities, labels, threshold, samples=samples, seed=seed)
    for name in METRICS:
        result[f"{name}_ci_low"], result[f"{name}_ci_high"] = interval(resampled[name])
    if graded:
        predicted = decide(np.asarray(probabilities), threshold)
        drawn = _counts(resample(len(labels), samples, seed))
        result[KAPPA] = float(quadratic_kappa(predicted, labels, np.ones((1, len(labels))))[0])
        result[f"{KAPPA}_ci_low"], result[f"{KAPPA}_ci_high"] = interval(quadratic_kappa(predicted, labels, drawn))
    return result


def quadratic_kappa(
    predicted: NDArray[np.integer], labels: NDArray[np.integer], counts: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Compute Cohen's kappa of grades with quadratic weights (Cohen, 1968) in several samples at once.

    It is one minus the mean squared distance of the predicted grade from the true one, divided by what it would be if
    the two had nothing to do with each other: 1 where all are right, 0 by chance, below it worse than that.

    Args:
        predicted: grades, shape (images,).
        labels: true grades, shape (images,).
        counts: how often each sample holds each image, shape (samples, images).

    Returns:
        Shape (samples,), at most 1; NaN where all predicted and all true grades are one and the same.
    """
    total = counts.sum(axis=1)
    first, second = predicted.astype(np.float64), labels.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(counts @ values / total)

    observed = mean((first - second) ** 2)
    expected = mean(first**2) + mean(second**2) - 2 * mean(first) * mean(second)
    return 1 - _ratio(observed, expected, empty=np.nan)


def confusion_counts(predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Count the images of each class by the class that is predicted.

    Args:
        predicted: shape (images,).
        labels: shape (images,).
        classes: number of classes.

    Returns:
        Shape (classes, classes), rows by true class, columns by predicted class.
    """
    return np.bincount(classes * labels + predicted, minlength=classes**2).reshape(classes, classes)


def bootstrap_scores(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    threshold: float | None,
    *,
    samples: int,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Score every bootstrap sample.

    Args:
        probabilities: as `score`.
        labels: 0 … classes - 1, shape (images,).
        threshold: as `score`.
        samples: number of bootstrap samples.
        seed: seed of the resampling; equal seeds give paired samples.

    Returns:
        For each of `METRICS` the values, shape (samples,); NaN where a sample lacks a class.

    Raises:
        InputError: as `score`.
    """
    probabilities = _checked(probabilities, labels)
    drawn = resample(len(labels), samples, seed)
    blocks = np.array_split(drawn, -(-drawn.size // BLOCK_SIZE))
    scored = [_scores(probabilities, labels, threshold, _counts(block)) for block in blocks]
    return {name: np.concatenate([part[name] for part in scored]) for name in METRICS}


def _counts(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count how often each sample holds each image: every metric is then a sum over images, and one sort serves all."""
    return np.stack([np.bincount(sample, minlength=len(sample)) for sample in drawn]).astype(np.float64)


def _scores(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.integer],
    threshold: float | None,
    counts: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    predicted = decide(probabilities, threshold)
    total = counts.sum(axis=1)
    if probabilities.ndim == 1:
        positive = labels == 1
        of_class = _one_against_rest(probabilities, positive, predicted == 1, counts)
        recalls = [of_class["recall"], of_class["specificity"]]
        brier = (probabilities - positive) ** 2
        ece = calibration_error(probabilities, positive, counts)
    else:
        classes = range(probabilities.shape[1])
        each = [_one_against_rest(probabilities[:, c], labels == c, predicted == c, counts) for c in classes]
        of_class = {name: np.mean([scores[name] for scores in each], axis=0) for name in each[0]}
        recalls = [scores["recall"] for scores in each]
        brier = ((probabilities - np.eye(len(classes))[labels]) ** 2).sum(axis=1) / 2
        ece = calibration_error(probabilities.max(axis=1), predicted == labels, counts)
    scores = of_class | {
        "accuracy": counts @ (predicted == labels) / total,
        "balanced_accuracy": np.mean(recalls, axis=0),
        "ece": ece,
        "brier": counts @ brier / total,
    }
    return {name: scores[name] for name in METRICS}


def _one_against_rest(
    probabilities: NDArray[np.float64],
    positive: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    counts: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Score one class against all others."""
    true_positives, false_negatives = counts @ (positive & predicted), counts @ (positive & ~predicted)
    false_positives, true_negatives = counts @ (~positive & predicted), counts @ (~positive & ~predicted)
    tied = tied_counts(probabilities, positive, counts)
    return {
        "auc": auc_of_counts(*tied),
        "precision": _ratio(true_positives, true_positives + false_positives, empty=0.0),
        "recall": _ratio(true_positives, true_positives + false_negatives, empty=np.nan),
        "specificity": _ratio(true_negatives, true_negatives + false_positives, empty=np.nan),
        "f1": _ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives, empty=0.0),
        "average_precision": _average_precision(*tied),
    }


def _average_precision(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the precision over the positives, equal probabilities as one step; NaN where a group is missing."""
    found, false_alarms = positives.cumsum(axis=1), negatives.cumsum(axis=1)
    precision = _ratio(found, found + false_alarms, empty=0.0)
    average = _ratio((positives * precision).sum(axis=1), found[:, -1], empty=np.nan)
    return np.where((found[:, -1] == 0) | (false_alarms[:, -1] == 0), np.nan, average)


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64], *, empty: float) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.full_like(numerator, empty), where=denominator > 0)


def _checked(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    checked: NDArray[np.float64] = np.asarray(probabilities, np.float64)
    fits = checked.ndim == 1 or (checked.ndim == 2 and checked.shape[1] > 2)
    if not fits or labels.shape != checked.shape[:1]:
        raise InputError(
            f"Probabilities of shape {checked.shape} cannot be scored against labels of shape {labels.shape}; give "
            "every image a label and one probability, of class 1 of two, or one for each of more than two classes."
        )
    check_every_class(labels, class_count(checked), "a score")
    if not ((checked >= 0) & (checked <= 1)).all():
        raise InputError("Some probabilities are not in [0, 1]; give calibrated probabilities, not logits.")
    return checked
