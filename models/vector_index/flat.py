"""Exact search: a query is compared with every vector.

Johnson, Douze and Jégou, "Billion-scale similarity search with GPUs", 2019.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from models.vector_index.selection import selector

# Through BLAS the cosine of two identical vectors differs in the last bits with their place in the block, and ties
# would be broken by that noise. FAISS's own kernel gives equal vectors equal cosines. FAISS takes BLAS, which is four
# times as fast on 10⁵ vectors, from this many numbers (queries × dimensions) a call: the exact search stays below,
# k-means and the assignment to lists, where ties do not matter, mostly above.
BLAS_FROM = 2**21
faiss.cvar.distance_compute_blas_threshold = BLAS_FROM


class FlatStructure:
    """Vectors in one float32 array.

    Attributes:
        index: FAISS's index.
    """

    def __init__(self, index: Any) -> None:
        self.index = index

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
        return bool(self.index.ntotal == rows and self.index.codes.size() == rows * self.index.d * 4)

    def add(self, vectors: NDArray[np.float32], first_row: int) -> None:
        """Append vectors; see `Structure`."""
        self.index.add(vectors)

    def remove(self, kept: NDArray[np.bool_]) -> bool:
        """Remove vectors; those behind them move up. See `Structure`."""
        self.index.remove_ids(selector(~kept))
        return True

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
