"""Whether a search by one index is worse than by another, judged on validation by a paired bootstrap.

Each validation image is searched for among the others. The criterion is the mean average precision, each class counting
the same: it has no cut-off, so that it is defined for any number of images.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.choices import Similarity
from models.errors import InputError
from tasks.retrieval.metrics import ranking
from tasks.shared.paired_bootstrap import PairedDifference, paired_difference


class Verdict(NamedTuple):
    """What a comparison on validation found.

    Attributes:
        no_worse: whether the new index is not worse beyond chance: the interval of the difference reaches 0.
        reason: the finding in words.
        measured: class-balanced mean average precision of the new index, and of the one in use.
    """

    no_worse: bool
    reason: str
    measured: PairedDifference


def leave_one_out(
    vectors: NDArray[np.floating], labels: NDArray[np.integer], similarity: Similarity = "cosine"
) -> NDArray[np.float64]:
    """Search for each image among the others.

    Args:
        vectors: embeddings, shape (images, dimension).
        labels: classes, shape (images,).
        similarity: by which images are near.

    Returns:
        Average precision per image, shape (images,); NaN for the only image of a class.

    Raises:
        InputError: a vector has no direction.
    """
    ids = np.arange(len(labels), dtype=np.int64)
    return ranking.evaluate(vectors, labels, vectors, labels, ids, ids, [], similarity).values["average_precision"]


def compare(
    new: NDArray[np.floating],
    in_use: NDArray[np.floating],
    labels: NDArray[np.integer],
    samples: int,
    seed: int,
    similarities: tuple[Similarity, Similarity] = ("cosine", "cosine"),
) -> Verdict:
    """Compare two indices over the same validation images by a paired bootstrap.

    Args:
        new: embeddings that the new index holds, shape (images, dimension).
        in_use: those of the index in use, shape (images, its dimension), in the same order.
        labels: classes, shape (images,).
        samples: number of bootstrap samples.
        seed: seed of the draw.
        similarities: by which images are near in the new index, and in the one in use.

    Returns:
        The comparison.

    Raises:
        InputError: a vector has no direction, or no class has two images.
    """
    found, known = (leave_one_out(each, labels, near) for each, near in zip((new, in_use), similarities, strict=True))
    defined = ~np.isnan(found)  # of both, since it hangs on the labels alone
    if not defined.any():
        raise InputError("No class has two validation images, so that no search among them can be judged.")
    _, classes = np.unique(labels[defined], return_inverse=True)
    measured = paired_difference(found[defined], known[defined], classes, samples=samples, seed=seed)
    no_worse = measured.high >= 0
    reason = (
        f"{'No worse' if no_worse else 'Worse'} than the index in use on validation, leave-one-out: class-balanced mAP "
        f"{measured.first:.4f} against {measured.second:.4f}, difference {measured.difference:+.4f} (95 % paired "
        f"bootstrap {measured.low:+.4f} to {measured.high:+.4f}, {'not below' if no_worse else 'below'} 0)."
    )
    return Verdict(no_worse, reason, measured)
