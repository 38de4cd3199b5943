"""P(yes) of the yes-or-no question as a classifier."""

import numpy as np
from numpy.typing import NDArray

from tasks.shared.bootstrap import interval, resample, resample_counts
from tasks.shared.calibration_error import calibration_error
from tasks.shared.estimates import UNKNOWN, Estimate


def probability_scores(
    probabilities: NDArray[np.floating], labels: NDArray[np.bool_], *, samples: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """Score probabilities of pneumonia, with 95 % percentile bootstrap intervals over the cases.

    Args:
        probabilities: in [0, 1], shape (cases,).
        labels: whether it is pneumonia, shape (cases,).
        samples: number of bootstrap samples.
        seed: seed of the resampling; equal seeds give paired samples.

    Returns:
        `auc`, the area under the ROC curve, unknown with one class only; `ece`, the expected calibration error in 15
        bins; `brier`, the mean squared error; all unknown without cases.
    """
    count = len(labels)
    if count == 0:
        return dict.fromkeys(("auc", "ece", "brier"), UNKNOWN)
    everything, drawn = np.arange(count)[None], resample(count, samples, seed)
    errors = (probabilities - labels) ** 2
    found = {
        "auc": (_auc(probabilities[rows], labels[rows]) for rows in (everything, drawn)),
        "ece": (
            calibration_error(probabilities, labels, counts)
            for counts in (np.ones((1, count)), resample_counts(count, samples, seed))
        ),
        "brier": (errors[rows].mean(axis=1) for rows in (everything, drawn)),
    }
    return {name: Estimate(float(value[0]), *interval(resampled), count) for name, (value, resampled) in found.items()}


def _auc(probabilities: NDArray[np.floating], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute the area as the Mann-Whitney statistic of each row over its greatest value; NaN with one class only."""
    from scipy.stats import rankdata

    positives = labels.sum(axis=1)
    negatives = labels.shape[1] - positives
    wins = (rankdata(probabilities, axis=1) * labels).sum(axis=1) - positives * (positives + 1) / 2
    with np.errstate(invalid="ignore"):
        return np.asarray(wins / (positives * negatives))
