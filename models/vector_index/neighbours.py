"""What a search returns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Neighbours:
    """The nearest vectors of each query, nearest first; equal similarities are ordered by id.

    Attributes:
        similarities: cosines in [-1, 1], or with the metric "l2" Euclidean distances times minus one, so that more is
            nearer with both; float32, shape (queries, k).
        ids: ids of the vectors, int64, shape (queries, k).
    """

    similarities: NDArray[np.float32]
    ids: NDArray[np.int64]
