"""Which images the figures show: right and wrong predictions of each kind, and the classes whose evidence is mapped.

Probabilities have the shape (images,) for two classes, of class 1, and (images, classes) for more.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.classification.trust.calibration import by_class, decide

OUTCOMES = ("true positive", "true negative", "false positive", "false negative")
OUTCOMES_OF_MORE_CLASSES = ("right", "wrong")


def outcome_names(classes: int) -> tuple[str, ...]:
    """Name the kinds of outcome that are told apart.

    Args:
        classes: number of classes.

    Returns:
        `OUTCOMES` for two classes, of which class 1 is the positive one; else `OUTCOMES_OF_MORE_CLASSES`.
    """
    return OUTCOMES if classes == 2 else OUTCOMES_OF_MORE_CLASSES


def outcomes(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float | None
) -> NDArray[np.int64]:
    """Tell the kind of outcome of every image.

    Args:
        probabilities: shape (images,) or (images, classes).
        labels: shape (images,).
        threshold: of two classes; None for more.

    Returns:
        Positions in `outcome_names`, shape (images,).
    """
    called = decide(probabilities, threshold)
    wrong = (called != labels).astype(np.int64)
    # Of two classes positive calls come before negative ones, right before wrong, as in `OUTCOMES`.
    return wrong if threshold is None else 2 * wrong + (called == 0)


def most_confident_errors(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float | None
) -> NDArray[np.int64]:
    """Find the images that are called the wrong class, the surest error first.

    Args:
        probabilities: shape (images,) or (images, classes).
        labels: shape (images,).
        threshold: of two classes; None for more.

    Returns:
        Positions of the images, sorted by the probability given to the called class; ties by position.
    """
    called = decide(probabilities, threshold)
    wrong = np.flatnonzero(called != labels)
    return wrong[np.argsort(-by_class(probabilities)[wrong, called[wrong]], kind="stable")]


def explained_classes(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float | None
) -> NDArray[np.int64]:
    """Choose the two classes whose evidence is mapped for every image.

    Args:
        probabilities: shape (images,) or (images, classes).
        labels: shape (images,).
        threshold: of two classes; None for more.

    Returns:
        Classes, shape (images, 2): of two classes both; of more the called one, and the true one where the call is
        wrong, the next likeliest where it is right.
    """
    if threshold is not None:
        return np.tile(np.arange(2), (len(labels), 1))
    called = decide(probabilities, threshold)
    next_likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, 1]
    return np.column_stack([called, np.where(called == labels, next_likeliest, labels)])


def explained_cases(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], threshold: float | None, *, cases: int = 4
) -> NDArray[np.int64]:
    """Choose the images of the montage: the first of each outcome.

    Args:
        probabilities: shape (images,) or (images, classes).
        labels: shape (images,).
        threshold: of two classes; None for more.
        cases: most images of each outcome.

    Returns:
        Positions, outcome by outcome; a montage of these images alone shows the same as one of all.
    """
    groups = outcomes(probabilities, labels, threshold)
    return np.concatenate([np.flatnonzero(groups == outcome)[:cases] for outcome in range(len(OUTCOMES))])
