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
    train, val, test = (_first(splits.labels(split), limit) for split in SPLITS)
    return Splits(
        train_images=splits.train_images[train],
        val_images=splits.val_images[val],
        test_images=splits.test_images[test],
        train_labels=splits.train_labels[train],
        val_labels=splits.val_labels[val],
        test_labels=splits.test_labels[test],
    )


def _first(labels: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    if limit >= len(labels):
        return np.arange(len(labels))
    members = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    kept = [indices[: max(1, len(indices) * limit // len(labels))] for indices in members]
    return np.sort(np.concatenate(kept))
