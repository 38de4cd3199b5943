"""A smaller dataset for quick tries."""

import numpy as np
from numpy.typing import NDArray

from tasks.data.validation import SPLITS, Splits


def take_first(splits: Splits, limit: int) -> Splits:
    """Keep the first images of each split, each class with its share.

    Args:
        splits: the dataset.
        limit: images to keep a split; a smaller split stays whole.

    Returns:
        The smaller dataset, in the order of the larger one.
    """
    chosen = {split: _first(splits.labels(split), limit) for split in SPLITS}
    images = {f"{split}_images": splits.images(split)[chosen[split]] for split in SPLITS}
    labels = {f"{split}_labels": splits.labels(split)[chosen[split]] for split in SPLITS}
    return Splits(**images, **labels)


def _first(labels: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    if limit >= len(labels):
        return np.arange(len(labels))
    members = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    kept = [indices[: max(1, len(indices) * limit // len(labels))] for indices in members]
    return np.sort(np.concatenate(kept))
