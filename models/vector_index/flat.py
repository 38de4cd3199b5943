"""Exact search: a query is compared with every vector.

Johnson, Douze and Jégou, "Billion-scale similarity search with GPUs", 2019.
"""

import faiss
import numpy as np
from numpy.typing import NDArray

from models.vector_index.faiss_adapter import BLAS_FROM, selector, stored_bytes
from models.vector_index.structure import Structure


class FlatStructure(Structure):
    """Vectors in one float32 array."""

    faiss_class = faiss.IndexFlat

    @classmethod
    def new(cls, dimension: int, metric: int) -> "FlatStructure":
        """Make an empty structure.

        Args:
            dimension: of the vectors.
            metric: FAISS's constant.

        Returns:
            The structure.
        """
        return cls(faiss.IndexFlat(dimension, metric))

    def fits(self, rows: int) -> bool:
        """Compare the sizes; see `Structure`."""
        return bool(self.index.ntotal == rows and stored_bytes(self.index) == rows * self.index.d * 4)

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest rows exactly; see `Structure`."""
        chosen = None if allowed is None else faiss.SearchParameters(sel=selector(allowed))  # type: ignore[call-arg]
        scores = np.empty((len(vectors), k), dtype=np.float32)
        rows = np.empty((len(vectors), k), dtype=np.int64)
        step = max(1, (BLAS_FROM - 1) // self.index.d)
        for start in range(0, len(vectors), step):
            block = slice(start, start + step)
            scores[block], rows[block] = self.index.search(vectors[block], k, params=chosen)
        return scores, rows
