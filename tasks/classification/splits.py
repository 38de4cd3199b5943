"""The training split as the classifier sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def training_split(
    arrays: Mapping[str, NDArray[Any]], excluded: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """Take the training split without the images that validation holds too.

    Args:
        arrays: `train_images`, shape (images, height, width) or (images, height, width, 3), and `train_labels`, shape
            (images,).
        excluded: positions of the images to leave out.

    Returns:
        Images and labels.
    """
    return np.delete(arrays["train_images"], excluded, axis=0), np.delete(arrays["train_labels"], excluded)
