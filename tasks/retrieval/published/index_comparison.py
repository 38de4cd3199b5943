"""Whether a search by one index is worse than by another, judged on validation by a paired bootstrap.

Each validation image is searched for among the others. The criterion is the mean average precision, each class counting
the same: it has no cut-off, so that it is defined for any number of images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from tasks.retrieval.metrics import ranking
from tasks.shared.bootstrap import balanced_interval, balanced_mean


@dataclass(frozen=True)
class Comparison:
    """What a comparison on validation found.

    Attributes:
        difference: class-balanced mean average precision of the new index less that of the one in use.
        low: lower bound of its 95 % interval.
        high: upper bound.
        no_worse: whether the new one is not worse beyond chance: `high` is not below 0.
        reason: the finding in words.
    """

    difference: float
    low: float
    high: float
    no_worse: bool
    reason: str


def leave_one_out(vectors: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Search for each image among the others.

    Args:
        vectors: embeddings, shape (images, dimension).
        labels: classes, shape (images,).

    Returns:
        Average precision of each, shape (images,); NaN for the only image of a class.

    Raises:
        InputError: a vector has no direction.
    """
    ids = np.arange(len(labels), dtype=np.int64)
    return ranking.evaluate(vectors, labels, vectors, labels, ids, ids, []).average_precision


def compare(
    new: NDArray[np.floating],
    in_use: NDArray[np.floating],
    labels: NDArray[np.integer],
    samples: int,
    seed: int,
) -> Comparison:
    """Compare two indices over the same validation images by a paired bootstrap (Efron and Tibshirani, 1993).

    Args:
        new: embeddings that the new index holds, shape (images, dimension).
        in_use: those of the index in use, shape (images, its dimension), in the same order.
        labels: classes, shape (images,).
        samples: number of bootstrap samples.
        seed: seed of the draw.

    Returns:
        The comparison.

    Raises:
        InputError: a vector has no direction, or no class has two images.
    """
    found, known = leave_one_out(new, labels), leave_one_out(in_use, labels)
    defined = ~np.isnan(found)  # of both, since it hangs on the labels alone
    if not defined.any():
        raise InputError("No class has two validation images, so that no search among them can be judged.")
    _, classes = np.unique(labels[defined], return_inverse=True)
    differences = found[defined] - known[defined]
    low, high = balanced_interval(differences, classes, samples, seed)
    difference = balanced_mean(differences, classes)
    no_worse = high >= 0
    reason = (
        f"{'No worse' if no_worse else 'Worse'} than the index in use on validation, leave-one-out: class-balanced mAP "
        f"{balanced_mean(found[defined], classes):.4f} against {balanced_mean(known[defined], classes):.4f}, "
        f"difference {difference:+.4f} (95 % paired bootstrap {low:+.4f} to {high:+.4f}, "
        f"{'not below' if no_worse else 'below'} 0)."
    )
    return Comparison(difference, low, high, no_worse, reason)
