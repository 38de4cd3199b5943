"""From logits to probabilities and decisions, fitted on validation only."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logsumexp, softmax

from models.errors import InputError

LOG_TEMPERATURE_BOUNDS = (np.log(0.05), np.log(20.0))


def calibrated_probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Turn logits into probabilities.

    Args:
        logits: shape (images,) for two classes, the log-odds of class 1; else (images, classes).
        temperature: divisor of the logits, above 0.

    Returns:
        Probabilities of the logits' shape: of class 1, or of each class. No temperature moves a probability of class 1
        across one half, or another class to the top.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    return np.asarray(expit(scaled) if scaled.ndim == 1 else softmax(scaled, axis=1))


def by_class(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give every class its own column of probabilities.

    Args:
        probabilities: shape (images,) of class 1, or (images, classes).

    Returns:
        Probabilities, shape (images, classes).
    """
    return probabilities if probabilities.ndim == 2 else np.column_stack([1 - probabilities, probabilities])


def decide(probabilities: NDArray[np.floating], threshold: float | None) -> NDArray[np.int64]:
    """Predict a class for every image.

    Args:
        probabilities: shape (images,) of class 1, or (images, classes).
        threshold: of two classes, class 1 is predicted where its probability is at least this; of more the likeliest
            is, the first of equals, and there is no threshold: None.

    Returns:
        Classes, shape (images,).

    Raises:
        InputError: two classes without a threshold, or more with one.
    """
    if (threshold is None) != (probabilities.ndim == 2):
        raise InputError(
            f"Probabilities of shape {probabilities.shape} cannot be decided with the threshold {threshold}; two "
            "classes, of shape (images,), need one, more classes have none."
        )
    predicted = probabilities.argmax(axis=1) if threshold is None else probabilities >= threshold
    return predicted.astype(np.int64)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Fit the temperature with the lowest log-loss (Guo et al., 2017).

    Args:
        logits: of validation, shape (images,) for two classes, the log-odds of class 1; else (images, classes).
        labels: of validation, shape (images,).

    Returns:
        The temperature, in [0.05, 20]; the logits are to be divided by it.

    Raises:
        InputError: a class is missing.
    """
    logits = np.asarray(logits, np.float64)
    check_every_class(labels, class_count(logits), "calibration")
    # The log-odds of class 1 are the logits of two classes of which the first is held at 0.
    columns = logits if logits.ndim == 2 else np.column_stack([np.zeros_like(logits), logits])
    of_truth = columns[np.arange(len(labels)), labels]

    def log_loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        return float(np.mean(logsumexp(columns / temperature, axis=1) - of_truth / temperature))

    # The log-loss is convex in 1 / temperature, so in the logarithm it has a single minimum.
    result = minimize_scalar(log_loss, bounds=LOG_TEMPERATURE_BOUNDS, method="bounded", options={"xatol": 1e-8})
    return float(np.exp(result.x))


def class_count(outputs: NDArray[np.floating]) -> int:
    """Tell how many classes logits or probabilities are of.

    Args:
        outputs: shape (images,) for two classes, else (images, classes).

    Returns:
        The number of classes.
    """
    return 2 if outputs.ndim == 1 else outputs.shape[1]


def check_every_class(labels: NDArray[np.integer], classes: int, purpose: str) -> None:
    """Refuse labels of which a class is missing.

    Args:
        labels: shape (images,).
        classes: number of classes.
        purpose: what needs them all, for the sentence.

    Raises:
        InputError: the labels are not exactly 0 … classes - 1.
    """
    present = sorted(set(np.asarray(labels).tolist()))
    if present != list(range(classes)):
        raise InputError(
            f"The labels hold the classes {present}, but {purpose} needs every class from 0 to {classes - 1}; use a "
            "split that holds them all."
        )


def choose_threshold(probabilities: NDArray[np.floating], labels: NDArray[np.integer], rule: str) -> float:
    """Choose the probability from which class 1 of two classes is predicted.

    Args:
        probabilities: of class 1, of validation, shape (images,).
        labels: 0 or 1, shape (images,).
        rule: a name in `RULES`.

    Returns:
        The threshold, in [0, 1]: class 1 where the probability is at least it.

    Raises:
        InputError: the rule is unknown or finds no threshold, a class is missing, or there are more than two.
    """
    if rule not in RULES:
        raise InputError(f"Unknown threshold rule {rule!r}; choose one of: {', '.join(RULES)}.")
    if probabilities.ndim != 1:
        raise InputError(
            f"A threshold tells two classes apart, not {class_count(probabilities)}; take the likeliest class instead."
        )
    check_every_class(labels, 2, "calibration")
    return RULES[rule].choose(np.asarray(probabilities, np.float64), labels)


def candidate_thresholds(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], rule: str
) -> dict[str, float]:
    """Choose the threshold of every rule, to show them side by side.

    Args:
        probabilities: of class 1, of validation, shape (images,).
        labels: 0 or 1, shape (images,).
        rule: the rule in use, a name in `RULES`.

    Returns:
        Threshold by rule, the one in use first; another rule that finds no threshold is left out.

    Raises:
        InputError: the rule in use has no threshold, as `choose_threshold`.
    """
    thresholds = {rule: choose_threshold(probabilities, labels, rule)}
    for other in RULES:
        try:
            thresholds.setdefault(other, choose_threshold(probabilities, labels, other))
        except InputError:
            continue
    return thresholds


def best_accuracy_threshold(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Find the threshold of two classes with the highest accuracy: on the test split an oracle, never a result.

    Args:
        probabilities: of class 1, shape (images,).
        labels: 0 or 1, shape (images,).

    Returns:
        The threshold, in [0, 1]; the middle of the widest run where several are best.
    """
    counts = np.bincount(labels, minlength=2)
    return _best_threshold(np.asarray(probabilities, np.float64), labels, weights=(1 / len(labels),) * 2, counts=counts)


def _one_half(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    """Set one half before any data were seen, as is right after a class-balanced loss."""
    return 0.5


def _best_balanced_accuracy(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    """Take the highest balanced accuracy on validation.

    Of several such thresholds the middle of the widest run is the least likely to fall on the wrong side elsewhere.
    """
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
    # Position i predicts class 1 from values[i] on; the last position never does.
    true_negatives = np.concatenate([[0], negatives.cumsum()])
    true_positives = counts[1] - np.concatenate([[0], positives.cumsum()])
    merit = weights[0] * true_negatives + weights[1] * true_positives
    # Any threshold in (values[i - 1], values[i]] decides alike.
    lower, upper = np.concatenate([[0.0], values]), np.concatenate([values, [1.0]])
    best = np.flatnonzero(merit >= merit.max() - 1e-12)
    runs = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)
    widest = max(runs, key=lambda run: upper[run[-1]] - lower[run[0]])
    return float((lower[widest[0]] + upper[widest[-1]]) / 2)


def balanced_recalibration(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[float, float]:
    """Fit a logistic recalibration in which each class counts one half (Platt, 1999).

    Args:
        probabilities: of class 1, shape (images,).
        labels: 0 or 1, each class at least once, shape (images,).

    Returns:
        Slope and bias: the recalibrated log-odds are slope × log-odds + bias.
    """
    clipped = np.clip(np.asarray(probabilities, np.float64), 1e-12, 1 - 1e-12)
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
    return float(slope / spread), float(bias - slope * center / spread)


def _balanced_likelihood(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    """Find where a balanced recalibration crosses one half.

    It is smoother than the best balanced accuracy, since every image has a say.
    """
    slope, bias = balanced_recalibration(probabilities, labels)
    if slope <= 0:
        raise InputError(
            "The validation logits do not rise with the labels, so the rule balanced_likelihood has no threshold; "
            'train longer, or choose the rule "fixed".'
        )
    return float(expit(-bias / slope))


class ThresholdRule(NamedTuple):
    """A way to set the operating point without the test split.

    Attributes:
        description: how it is set, for tables.
        choose: from probabilities of class 1 and labels of validation, both of shape (images,), to the threshold.
    """

    description: str
    choose: Callable[[NDArray[np.float64], NDArray[np.integer]], float]


RULES = {
    "fixed": ThresholdRule("fixed at .5 beforehand", _one_half),
    "balanced_likelihood": ThresholdRule("balanced recalibration of validation crosses one half", _balanced_likelihood),
    "balanced_accuracy": ThresholdRule("best balanced accuracy on validation", _best_balanced_accuracy),
}
