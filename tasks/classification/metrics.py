"""Scores of a binary classifier, for one split or for a thousand bootstrap samples of it at once."""

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from tasks.shared.bootstrap import interval, resample_counts
from tasks.shared.calibration_error import calibration_error

METRICS = (
    "auc", "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "average_precision", "ece",
    "brier",
)  # fmt: skip


def score(probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float) -> dict[str, float]:
    """Score predictions.

    Args:
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.

    Returns:
        Each of `METRICS`, in [0, 1]. Precision and F1 are 0 where nothing is called pneumonia. `ece` is the expected
        calibration error of the probability of pneumonia in 15 bins of equal width (Naeini et al., 2015, in the form
        for one class: the mean distance between the mean probability of a bin and its share of pneumonia); it does
        not depend on the threshold, which the form for the predicted label would.

    Raises:
        InputError: the shapes differ, a class is missing, or a probability is outside [0, 1].
    """
    probabilities = _checked(probabilities, labels)
    counts = np.ones((1, len(labels)))
    return {name: float(values[0]) for name, values in _scores(probabilities, labels, threshold, counts).items()}


def score_with_intervals(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    threshold: float,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Score predictions, with 95 % percentile bootstrap intervals over the images.

    Args:
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.
        samples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        Each of `METRICS`, and under its name with `_ci_low` and `_ci_high` the bounds of its interval.

    Raises:
        InputError: as `score`.
    """
    result = score(probabilities, labels, threshold)
    resampled = bootstrap_scores(probabilities, labels, threshold, samples=samples, seed=seed)
    for name in METRICS:
        result[f"{name}_ci_low"], result[f"{name}_ci_high"] = interval(resampled[name])
    return result


def bootstrap_scores(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    threshold: float,
    *,
    samples: int,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Score every bootstrap sample.

    Args:
        probabilities: of pneumonia, shape (images,).
        labels: 0 or 1, shape (images,).
        threshold: pneumonia is called where the probability is at least this.
        samples: number of bootstrap samples.
        seed: seed of the resampling; equal seeds give paired samples.

    Returns:
        For each of `METRICS` the values, shape (samples,); NaN where a sample holds one class only.

    Raises:
        InputError: as `score`.
    """
    probabilities = _checked(probabilities, labels)
    # A sample is how often it holds each image: every metric is then a sum over images, and one sort serves all.
    counts = resample_counts(len(labels), samples, seed)
    return _scores(probabilities, labels, threshold, counts)


def _scores(
    probabilities: NDArray[np.float64], labels: NDArray[np.integer], threshold: float, counts: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    positive = labels == 1
    predicted = probabilities >= threshold
    true_positives, false_negatives = counts @ (positive & predicted), counts @ (positive & ~predicted)
    false_positives, true_negatives = counts @ (~positive & predicted), counts @ (~positive & ~predicted)
    total = counts.sum(axis=1)
    recall = _ratio(true_positives, true_positives + false_negatives, empty=np.nan)
    specificity = _ratio(true_negatives, true_negatives + false_positives, empty=np.nan)
    auc, average_precision = _ranking_scores(probabilities, positive, counts)
    return {
        "auc": auc,
        "accuracy": (true_positives + true_negatives) / total,
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": _ratio(true_positives, true_positives + false_positives, empty=0.0),
        "recall": recall,
        "specificity": specificity,
        "f1": _ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives, empty=0.0),
        "average_precision": average_precision,
        "ece": calibration_error(probabilities, positive, counts),
        "brier": counts @ (probabilities - positive) ** 2 / total,
    }


def _ranking_scores(
    probabilities: NDArray[np.float64], positive: NDArray[np.bool_], counts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the area under the ROC curve and the average precision, with equal probabilities as one step."""
    order = np.argsort(-probabilities, kind="stable")
    starts = np.flatnonzero(np.diff(probabilities[order], prepend=np.inf))
    positives = np.add.reduceat(counts[:, order] * positive[order], starts, axis=1)
    negatives = np.add.reduceat(counts[:, order] * ~positive[order], starts, axis=1)
    found, false_alarms = positives.cumsum(axis=1), negatives.cumsum(axis=1)
    all_positives, all_negatives = found[:, -1], false_alarms[:, -1]
    # A negative is outranked by the positives found before it, and by half of those that tie with it.
    wins = (negatives * (found - positives / 2)).sum(axis=1)
    auc = _ratio(wins, all_positives * all_negatives, empty=np.nan)
    precision = _ratio(found, found + false_alarms, empty=0.0)
    one_class = (all_positives == 0) | (all_negatives == 0)
    average_precision = _ratio((positives * precision).sum(axis=1), all_positives, empty=np.nan)
    return auc, np.where(one_class, np.nan, average_precision)


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64], *, empty: float) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.full_like(numerator, empty), where=denominator > 0)


def _checked(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    checked: NDArray[np.float64] = np.asarray(probabilities, np.float64)
    if checked.shape != labels.shape or labels.ndim != 1:
        raise InputError(
            f"Probabilities of shape {checked.shape} cannot be scored against labels of shape {labels.shape}; "
            "give one of each for every image."
        )
    if set(np.unique(labels)) != {0, 1}:
        raise InputError(
            f"The labels are {sorted(set(labels.tolist()))}, but scores need both 0 (normal) and 1 (pneumonia); use a "
            "split with both classes."
        )
    if not ((checked >= 0) & (checked <= 1)).all():
        raise InputError("Some probabilities are not in [0, 1]; give calibrated probabilities, not logits.")
    return checked
