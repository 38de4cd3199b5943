"""Two ways to a figure that is too good, each with a check for anyone's own results. It needs NumPy alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 5e-4
"""How far a figure may be from the recomputed one: three decimals are usual in print."""


class TrapError(AssertionError):
    """A figure is what one gets in a trap."""


def require_no_self_match(vectors: NDArray, labels: NDArray, claimed: Mapping[int, float]) -> None:
    """Recompute precision@k, leave-one-out by cosine, and tell a figure for which each image was its own neighbour.

    An image is always nearest to itself. Where it is left in the gallery precision@1 is 1, and precision@k gains up to
    1/k. Leaving out the first rank instead is no remedy: of two identical images that may be the other one.

    Args:
        vectors: one row an image, shape (images, dimensions).
        labels: shape (images,).
        claimed: precision by k.

    Raises:
        TrapError: a figure is that with itself among the neighbours.
        AssertionError: a figure is neither that nor the right one.
    """
    unit = np.asarray(vectors, np.float64)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ unit.T
    for k, claim in claimed.items():
        with_itself = _precision(cosines, labels, k)
        others = cosines.copy()
        np.fill_diagonal(others, -np.inf)
        right = _precision(others, labels, k)
        if abs(claim - right) <= TOLERANCE:
            continue
        if abs(claim - with_itself) <= TOLERANCE:
            raise TrapError(f"precision@{k} = {claim:.4f} counts each image as its own neighbour; it is {right:.4f}")
        raise AssertionError(f"precision@{k} = {claim:.4f} was claimed; it is {right:.4f}")


def _precision(cosines: NDArray, labels: NDArray, k: int) -> float:
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return float((labels[nearest] == labels[:, None]).mean())


def require_epoch_from_validation(validation: Sequence[float], test: Sequence[float], claimed: float) -> None:
    """Tell a test figure that is the best of all epochs on test, and not that of the epoch best on validation.

    Args:
        validation: the figure by which an epoch is chosen, one an epoch; more is better.
        test: the same on the test split, one an epoch.
        claimed: the test figure that was reported.

    Raises:
        TrapError: the figure is the best of test, at an epoch that validation does not choose.
        AssertionError: the figure is neither that nor the right one.
    """
    right, best = test[int(np.argmax(validation))], max(test)
    if abs(claimed - right) <= TOLERANCE:
        return
    if abs(claimed - best) <= TOLERANCE:
        raise TrapError(f"{claimed:.4f} is the best epoch on test; the epoch best on validation has {right:.4f}")
    raise AssertionError(f"{claimed:.4f} was claimed; the epoch best on validation has {right:.4f}")
