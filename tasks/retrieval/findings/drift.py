"""Drift between what the index holds and what is newly seen."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.retrieval.analyses import drift
from tasks.retrieval.findings.json_values import without_nan
from tasks.retrieval.settings import SPLITS
from tasks.retrieval.vectors import LabelledVectors
from tasks.shared.findings import Findings


def find_drift(
    train: LabelledVectors, test: LabelledVectors, validation: LabelledVectors, class_names: Sequence[str]
) -> Findings:
    """Compare the test images with those of train, class by class; validation, drawn like train, is the reference."""
    found = drift.measure_drift(train, test, validation, class_names)
    rows = [
        {"name": each.name}
        | {kind: without_nan(getattr(each, kind)._asdict()) for kind in ("domain_auc", "reference_auc")}
        for each in found
    ]
    sections = (("Drift between the index and the test images", drift.drift_markdown(found)),)
    return Findings("drift", drift.drift_metrics(found), rows, {}, sections)


def find_drift_of_new_images(
    train: LabelledVectors,
    test: LabelledVectors,
    validation: LabelledVectors,
    places: Sequence[int],
    class_names: Sequence[str],
) -> Findings:
    """Compare some test images with those that the index in use is over, and find what that gives by chance.

    Args:
        train: train images of the index in use.
        test: test images, some of them new.
        validation: validation images of the index in use.
        places: positions of the new ones.
        class_names: by label.

    Returns:
        The findings.
    """
    new = LabelledVectors(test.vectors[places], test.labels[places])
    found = drift.measure_drift(train, new, validation, class_names, calibrated=True)
    metrics = {"drift/new_images": float(len(places))} | drift.drift_metrics(found, "drift/new_")
    sections = (("Drift of images that the index had not seen", drift.new_images_markdown(found, len(places))),)
    return Findings("new_images", metrics, {"places": places, "metrics": metrics}, {}, sections)


def unseen(images: NDArray[np.uint8], known: Mapping[str, NDArray]) -> list[int]:
    """Find the images that a dataset does not hold, by their pixels.

    Args:
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        known: arrays of the dataset: `{split}_images`.

    Returns:
        Their positions, ascending.
    """
    seen = {_pixels(image) for split in SPLITS for image in known[f"{split}_images"]}
    return [place for place, image in enumerate(images) if _pixels(image) not in seen]


def _pixels(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes()).digest()
