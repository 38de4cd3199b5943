"""Whether an exported graph decides as the classifier that it was made of."""

import numpy as np
from numpy.typing import NDArray

from tasks.classification.trust.calibration import by_class, decide

COMPARED = 2000
"""Most test images on which the two are compared; PneumoniaMNIST has 624."""
TOLERANCE = 1e-4
"""Greatest difference of a probability; float32 leaves about 1e-6."""


def compare_probabilities(
    exported: NDArray[np.floating], reported: NDArray[np.floating], threshold: float | None
) -> tuple[dict[str, float], str]:
    """Compare what a graph says of some images with what was reported of them.

    Args:
        exported: probabilities of all classes by the graph, shape (images, classes).
        reported: probabilities by the classifier, shape (images,) of class 1 or (images, classes).
        threshold: probability of class 1 from which it is predicted; None for more than two classes.

    Returns:
        The metrics, and in a sentence why the graph is not used; empty where it is.
    """
    expected = by_class(reported)
    difference = float(np.nan_to_num(np.abs(exported - expected), nan=1.0).max())
    ours, theirs = (decide(values if threshold is None else values[:, 1], threshold) for values in (exported, expected))
    changed = int((ours != theirs).sum())
    metrics = {
        "onnx/images": float(len(expected)),
        "onnx/changed_decisions": float(changed),
        "onnx/greatest_difference": difference,
    }
    if changed or difference > TOLERANCE:
        return metrics, (
            f"It is left out, since it decides {changed} of {len(expected)} test images otherwise and its "
            f"probabilities differ by up to {difference:.1e}."
        )
    return metrics, ""
