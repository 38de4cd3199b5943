"""From logits to probabilities and decisions, fitted on validation only."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from models.errors import InputError

ThresholdRule = Literal["fixed", "balanced_accuracy", "balanced_likelihood"]

LOG_TEMPERATURE_BOUNDS = (np.log(0.05), np.log(20.0))


def calibrated_probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Turn logits into probabilities of pneumonia.

    Args:
        logits: shape (images,).
        temperature: divisor of the logits, above 0.

    Returns:
        Probabilities, shape (images,). A temperature never moves a probability across one half.
    """
    return expit(np.asarray(logits, np.float64) / temperature)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Fit the temperature with the lowest log-loss (Guo et al., 2017).

    Args:
        logits: of validation, shape (images,).
        labels: 0 or 1, shape (images,).

    Returns:
        The temperature, in [0.05, 20]; the logits are to be divided by it.

    Raises:
        InputError: a class is missing.
    """
    _check_both_classes(labels)
    logits = np.asarray(logits, np.float64)

    def log_loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - labels * scaled))

    # The log-loss is convex in 1 / temperature, so in the logarithm it has a single minimum.
    result = minimize_scalar(log_loss, bounds=LOG_TEMPERATURE_BOUNDS, method="bounded", options={"xatol": 1e-8})
    return float(np.exp(result.x))


def choose_threshold(probabilities: NDArray[np.floating], labels: NDArray[np.integer], rule: ThresholdRule) -> float:
    """Choose the probability from which an image is called pneumonia.

    Args:
        probabilities: of validation, shape (images,).
        labels: 0 or 1, shape (images,).
        rule: `fixed`: one half, set before any data were seen, as it should be after a class-balanced loss;
            `balanced_accuracy`: the highest balanced accuracy on validation, and of several such thresholds the
            middle of the widest run, which is the least likely to fall on the wrong side elsewhere;
            `balanced_likelihood`: where a logistic recalibration of the logits, in which each class counts one half,
            crosses one half (Platt, 1999, with class weights); it is smoother, since every image has a say.

    Returns:
        The threshold, in [0, 1]: pneumonia where the probability is at least it.

    Raises:
        InputError: the rule is unknown, or a class is missing.
    """
    if rule not in get_args(ThresholdRule):
        raise InputError(f"Unknown threshold rule {rule!r}; choose one of: {', '.join(get_args(ThresholdRule))}.")
    _check_both_classes(labels)
    if rule == "balanced_accuracy":
        return _best_balanced_accuracy(np.asarray(probabilities, np.float64), labels)
    if rule == "balanced_likelihood":
        return _balanced_likelihood(np.asarray(probabilities, np.float64), labels)
    return 0.5


def best_accuracy_threshold(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Find the threshold with the highest accuracy: on the test split an oracle, never a result.

    Args:
        probabilities: shape (images,).
        labels: 0 or 1, shape (images,).

    Returns:
        The threshold, in [0, 1]; the middle of the widest run where several are best.
    """
    counts = np.bincount(labels, minlength=2)
    return _best_threshold(np.asarray(probabilities, np.float64), labels, weights=(1 / len(labels),) * 2, counts=counts)


def _best_balanced_accuracy(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    counts = np.bincount(labels, minlength=2)
    return _best_threshold(probabilities, labels, weights=(0.5 / counts[0], 0.5 / counts[1]), counts=counts)


def _best_threshold(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.integer],
    *,
    weights: tuple[float, float],
    counts: NDArray[np.integer],
) -> float:
    values, group = np.unique(probabilities, return_inverse=True)
    negatives = np.bincount(group, labels == 0, len(values))
    positives = np.bincount(group, labels == 1, len(values))
    # Position i calls pneumonia from values[i] on; the last position calls nothing pneumonia.
    true_negatives = np.concatenate([[0], negatives.cumsum()])
    true_positives = counts[1] - np.concatenate([[0], positives.cumsum()])
    merit = weights[0] * true_negatives + weights[1] * true_positives
    # Any threshold in (values[i - 1], values[i]] decides alike.
    lower, upper = np.concatenate([[0.0], values]), np.concatenate([values, [1.0]])
    best = np.flatnonzero(merit >= merit.max() - 1e-12)
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    widest = max(runs, key=lambda run: upper[run[-1]] - lower[run[0]])
    return float((lower[widest[0]] + upper[widest[-1]]) / 2)


def _balanced_likelihood(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    clipped = np.clip(probabilities, 1e-12, 1 - 1e-12)
    logits = np.log(clipped) - np.log1p(-clipped)
    counts = np.bincount(labels, minlength=2)
    weights = 0.5 / counts[labels]
    center, spread = logits.mean(), max(float(logits.std()), 1e-12)
    scores = (logits - center) / spread

    def log_loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, bias = parameters
        scaled = slope * scores + bias
        residual = weights * (expit(scaled) - labels)
        # The slight ridge keeps the slope finite where the classes are separable.
        loss = weights @ (np.logaddexp(0, scaled) - labels * scaled) + 1e-6 * slope**2
        return float(loss), np.array([residual @ scores + 2e-6 * slope, residual.sum()])

    slope, bias = minimize(log_loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    if slope <= 0:
        raise InputError(
            "The validation logits do not rise with the labels, so the rule balanced_likelihood has no threshold; "
            'train longer, or choose the rule "fixed".'
        )
    return float(expit(center - spread * bias / slope))


def _check_both_classes(labels: NDArray[np.integer]) -> None:
    if set(np.unique(labels)) != {0, 1}:
        raise InputError(
            f"The labels are {sorted(set(np.asarray(labels).tolist()))}, but calibration needs both 0 (normal) and "
            "1 (pneumonia); use a split with both classes."
        )
