"""What is known of the test images, which analyses and figures share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.records.base import ArrayRecord
from tasks.records.classification import EvaluationRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store

if TYPE_CHECKING:
    from models.vector_index import Neighbours
    from tasks.shared.figures import Source

OWN = "classifier"  # name of the encoder that is the classifier itself


@dataclass(frozen=True)
class Evidence:
    """The images, what the classifier predicts for them, and their neighbours.

    Attributes:
        arrays: `{split}_images`, uint8, shape (images, height, width) or (images, height, width, 3), and
            `{split}_labels`, shape (images,).
        predictions: for the test images: `predicted`, the class, and `confidence`, its calibrated probability, each of
            shape (images,).
        neighbours: `{split}_ids` and `{split}_similarities`, cosines, of the nearest test and train images of each test
            image, nearest first, each of shape (test images, k); `{split}_distances` where that is what is near.
        class_names: by label.
        source: what figures of them are made from.
    """

    arrays: Mapping[str, NDArray]
    predictions: Mapping[str, NDArray]
    neighbours: Mapping[str, NDArray]
    class_names: tuple[str, ...]
    source: "Source"

    def near(self, split: str, queries: NDArray[np.integer] | slice, count: int) -> "Neighbours":
        """Take the first few neighbours of some test images, with that by which they are near."""
        from models.vector_index import Neighbours

        ids, cosines = (self.neighbours[f"{split}_{name}"][queries, :count] for name in ("ids", "similarities"))
        if f"{split}_distances" not in self.neighbours:
            return Neighbours(cosines, ids)
        return Neighbours(-self.neighbours[f"{split}_distances"][queries, :count], ids, "l2")

    @property
    def images(self) -> NDArray[np.uint8]:
        """The test images."""
        return self.arrays["test_images"]

    @property
    def labels(self) -> NDArray[np.integer]:
        """Their classes."""
        return self.arrays["test_labels"]


def read_evidence(
    store: Store, dataset: DatasetRecord, evaluation: EvaluationRecord, neighbours: ArrayRecord, encoder: str
) -> Evidence:
    """Read it from the store; the encoder is the one by which neighbours are near, for the figures."""
    from tasks.shared.figures import Source  # Matplotlib takes a second to import

    arrays, predictions, found = map(store.get_arrays, (dataset.splits, evaluation.predictions, neighbours.arrays))
    source = Source.of(dataset, model_of(encoder, evaluation.classifier))
    return Evidence(arrays, predictions, found, dataset.labels, source)


def model_of(encoder: str, classifier: str) -> str:
    """Say for figures by what images are compared and by what they are classified."""
    return f"encoder: the classifier {classifier}" if encoder == OWN else f"encoder {encoder}, classifier {classifier}"
