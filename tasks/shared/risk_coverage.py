"""What is gained when the least sure images are handed to a person: risk against coverage."""

import numpy as np
from numpy.typing import NDArray


def risk_coverage(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute the share of errors among the surest images.

    Args:
        confidence: shape (images,).
        correct: whether the image is classified correctly, shape (images,).

    Returns:
        Shape (images,): at n − 1 the share of errors among the n surest. Equally sure images count as if in random
        order.
    """
    _, ties = np.unique(-np.asarray(confidence), return_inverse=True)
    errors_in_tie = np.bincount(ties, weights=~correct) / np.bincount(ties)
    return np.cumsum(errors_in_tie[np.sort(ties)]) / np.arange(1, len(correct) + 1)


def area_under_risk(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    """Compute the area under the risk–coverage curve (AURC; Geifman and El-Yaniv, 2017).

    Args:
        confidence: shape (images,); at least one image.
        correct: whether the image is classified correctly, shape (images,).

    Returns:
        Mean of `risk_coverage`, in [0, 1]; lower is better, the share of errors is what a random order gives.
    """
    return float(risk_coverage(confidence, correct).mean())
