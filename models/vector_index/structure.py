"""What a flat index, a graph and inverted lists have in common."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


class Structure(ABC):
    """Vectors in FAISS, named by their row: the order in which they were added.

    Args:
        index: FAISS's index.

    Attributes:
        index: FAISS's index.
        faiss_class: its class.
    """

    faiss_class: ClassVar[type[Any]]

    def __init__(self, index: Any) -> None:
        self.index = index

    @abstractmethod
    def fits(self, rows: int) -> bool:
        """Tell whether the parts of an index that was read belong together, so that a search stays within them.

        Args:
            rows: number of rows that are known by an id.
        """

    @abstractmethod
    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the k nearest rows of each query.

        Args:
            vectors: queries as the metric wants them, shape (queries, dimensions).
            k: neighbours per query, at most the number of rows that may be found.
            allowed: which rows may be found, shape (rows,), or None for all.

        Returns:
            FAISS's scores (inner products or squared distances) and rows, both of shape (queries, k), nearest first,
            none missing.
        """
