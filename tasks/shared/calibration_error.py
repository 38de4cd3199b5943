"""Expected calibration error of the probability of one class."""

import numpy as np
from numpy.typing import NDArray

ECE_BINS = 15


def calibration_bins(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Sort probabilities into the bins of the calibration error.

    Args:
        probabilities: in [0, 1], shape (images,).

    Returns:
        Bins 0–14 of equal width, shape (images,); a probability of 1 is in the last.
    """
    return np.minimum((np.asarray(probabilities) * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer] | NDArray[np.bool_], counts: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Compute the error of several samples of the same images at once.

    Naeini et al. (2015), in the form for one class: the mean distance between the mean probability of a bin and its
    share of the class. It does not depend on a threshold, which the form for the predicted label would.

    Args:
        probabilities: of the class, in [0, 1], shape (images,).
        labels: whether an image is of the class, shape (images,).
        counts: how often each sample holds each image, shape (samples, images).

    Returns:
        The errors in [0, 1], shape (samples,).
    """
    in_bin = calibration_bins(probabilities)[:, None] == np.arange(ECE_BINS)
    gaps = counts @ (in_bin * (np.asarray(probabilities) - labels)[:, None])
    return np.asarray(np.abs(gaps).sum(axis=1) / counts.sum(axis=1))
