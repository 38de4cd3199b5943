"""What is known of the test images, which analyses and figures share."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.records.base import ArrayRecord
from tasks.records.classification import EvaluationRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store


@dataclass(frozen=True)
class Evidence:
    """The images, what the classifier predicts for them, and their neighbours.

    Attributes:
        arrays: `{split}_images`, uint8, shape (images, height, width) or (images, height, width, 3), and
            `{split}_labels`, shape (images,).
        predictions: for the test images: `predicted`, the class, and `confidence`, its calibrated probability, each of
            shape (images,).
        neighbours: `{split}_ids` and `{split}_similarities` of the nearest test and train images of each test image,
            nearest first, each of shape (test images, k).
        class_names: by label.
        phantoms: whether the data are drawn phantoms.
    """

    arrays: Mapping[str, NDArray]
    predictions: Mapping[str, NDArray]
    neighbours: Mapping[str, NDArray]
    class_names: tuple[str, ...]
    phantoms: bool

    @property
    def images(self) -> NDArray[np.uint8]:
        """The test images."""
        return self.arrays["test_images"]

    @property
    def labels(self) -> NDArray[np.integer]:
        """Their classes."""
        return self.arrays["test_labels"]


def read_evidence(
    store: Store, dataset: DatasetRecord, evaluation: EvaluationRecord, neighbours: ArrayRecord
) -> Evidence:
    """Read it from the store."""
    arrays, predictions, found = map(store.get_arrays, (dataset.splits, evaluation.predictions, neighbours.arrays))
    return Evidence(arrays, predictions, found, dataset.labels, dataset.phantoms)
