"""A smaller dataset for quick tries."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from models.choices import Split
from models.errors import InputError
from tasks.data.validation import SPLITS, Splits


def take_first(splits: Splits, limit: int) -> Splits:
    """Keep the first images of each split, each class with its share; of several labels per image the very first ones.

    Args:
        splits: the dataset.
        limit: most images to keep a split; a smaller split stays whole.

    Returns:
        The smaller dataset, in the order of the larger one.

    Raises:
        InputError: the share of a class is less than one image.
    """
    if splits.train_labels.ndim == 2:  # an image of several labels has no one class
        train, val, test = (np.arange(min(limit, len(splits.labels(split)))) for split in SPLITS)
        for split in SPLITS:
            kept = splits.labels(split)[:limit]
            if not (kept.any(axis=0) & (kept == 0).any(axis=0)).all():
                raise InputError(
                    f"--dataset.limit {limit} leaves no image with or without one of the labels in {split}: expected "
                    "both of each; raise it or leave it out."
                )
    else:
        train, val, test = (first_of_each_class(splits.labels(split), limit, split) for split in SPLITS)
    return Splits(
        train_images=splits.train_images[train],
        val_images=splits.val_images[val],
        test_images=splits.test_images[test],
        train_labels=splits.train_labels[train],
        val_labels=splits.val_labels[val],
        test_labels=splits.test_labels[test],
    )


def first_of_each_class(labels: NDArray[np.int64], limit: int, split: Split) -> NDArray[np.int64]:
    """Choose the first images of a split, each class with its share.

    Args:
        labels: class of each image, shape (images,).
        limit: most images to keep.
        split: what a message calls the split.

    Returns:
        Places of those that are kept, ascending.

    Raises:
        InputError: the share of a class is less than one image.
    """
    if limit >= len(labels):
        return np.arange(len(labels))
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    least = ceil(len(labels) / min(map(len, members)))
    if limit < least:
        raise InputError(
            f"--dataset.limit {limit} leaves no image of the rarest class in {split}: expected at least {least}, so "
            "that every class keeps its share and one image or more; raise it or leave it out."
        )
    kept = [indices[: len(indices) * limit // len(labels)] for indices in members]
    return np.sort(np.concatenate(kept))
