"""What a picture is judged by: the classifier's outputs for the validation images, whose class is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.cases.case import Classification, Reliability
from tasks.classification.trust.calibration import decide
from tasks.classification.trust.conformal import LEVELS, p_values, prediction_sets
from tasks.shared.estimates import share

ALIKE = 50
"""Validation images, those of the nearest probabilities, that say what a probability is worth."""


def classify(
    probabilities: NDArray[np.floating],
    known: Mapping[str, NDArray[Any]],
    threshold: float | None,
    labels: Sequence[str],
) -> list[Classification]:
    """Say what the classifier's probabilities mean.

    Args:
        probabilities: calibrated, of class 1 of two, shape (pictures,), or (pictures, classes).
        known: `val_probabilities` in the same layout and `val_labels`, shape (images,), of the validation images; and,
            where conformal sets are calibrated on others, `set_probabilities` and `set_labels` of those.
        threshold: operating point of two classes; None for more.
        labels: names of the classes.

    Returns:
        What the classifier says of each picture.
    """
    predicted = decide(probabilities, threshold)
    like = "set" if "set_labels" in known else "val"
    values = p_values(known[f"{like}_probabilities"], known[f"{like}_labels"], probabilities)
    sets = {f"{level:.2f}": prediction_sets(values, level) for level in LEVELS}
    shown, validation, hits = probabilities, known["val_probabilities"], known["val_labels"]
    if threshold is None:  # of each image the class that is predicted counts, and whether it is the true one
        hits = (decide(validation, None) == hits).astype(np.int64)
        shown, validation = probabilities.max(axis=1), validation.max(axis=1)
    return [
        Classification(
            probability=float(probability),
            threshold=threshold,
            label=labels[predicted[place]],
            sets={
                level: tuple(name for name, inside in zip(labels, members[place], strict=True) if inside)
                for level, members in sets.items()
            },
            reliability=reliability(float(probability), validation, hits),
            runner_up=_runner_up(probabilities[place], labels) if threshold is None else None,
        )
        for place, probability in enumerate(shown)
    ]


def _runner_up(probabilities: NDArray[np.floating], labels: Sequence[str]) -> tuple[str, float]:
    second = int(np.argsort(-probabilities, kind="stable")[1])
    return labels[second], float(probabilities[second])


def reliability(
    probability: float, probabilities: NDArray[np.floating], labels: NDArray[np.integer], alike: int = ALIKE
) -> Reliability:
    """Say what became of the validation images of about the same probability.

    Args:
        probability: of the picture, calibrated.
        probabilities: of the validation images, shape (images,).
        labels: their classes, 0 or 1, shape (images,); of more than two classes 1 where the predicted one is true.
        alike: how many count: those of the nearest probabilities, ties by position.

    Returns:
        The share of them that are of class 1, with its Wilson interval.
    """
    nearest = np.argsort(np.abs(probabilities - probability), kind="stable")[:alike]
    found = share(labels[nearest] == 1)
    return Reliability(
        low=float(probabilities[nearest].min()),
        high=float(probabilities[nearest].max()),
        images=len(nearest),
        share=found.value,
        share_low=found.low,
        share_high=found.high,
    )
