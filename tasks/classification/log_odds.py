"""Log-odds: the scale on which sure predictions do not crowd at the ends."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from tasks.classification.trust.calibration import by_class

SMALLEST = 1e-6  # a probability nearer to 0 or 1 is rounding: its log-odds would only stretch the axes


def log_odds(probabilities: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Turn probabilities into log-odds, finite ones.

    Args:
        probabilities: in [0, 1], any shape.

    Returns:
        Natural logarithm of p / (1 − p), the same shape, within ± 13.8.
    """
    return np.asarray(logit(np.clip(np.asarray(probabilities, np.float64), SMALLEST, 1 - SMALLEST)))


def log_odds_of_truth(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Take the log-odds that the classifier gives to each image's true class.

    Args:
        probabilities: shape (images,) of class 1 or (images, classes).
        labels: shape (images,).

    Returns:
        Shape (images,); above 0 the true class is likelier than not.
    """
    return log_odds(by_class(probabilities)[np.arange(len(labels)), labels])
