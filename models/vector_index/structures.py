"""What the three structures have in common."""

from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from models.vector_index.flat import FlatStructure
from models.vector_index.hnsw import HnswStructure
from models.vector_index.ivf import IvfStructure
from models.vector_index.kinds import Kind


class Structure(Protocol):
    """Vectors in FAISS, named by their row: the order in which they were added.

    Attributes:
        index: FAISS's index.
    """

    index: Any

    def fits(self, rows: int) -> bool:
        """Tell whether the parts of an index that was read belong together, so that a search stays within them.

        Args:
            rows: number of rows that are known by an id.
        """
        ...

    def add(self, vectors: NDArray[np.float32], first_row: int) -> None:
        """Add vectors.

        Args:
            vectors: as the metric wants them, shape (vectors, dimensions).
            first_row: row of the first of them; the others follow.
        """

    def remove(self, kept: NDArray[np.bool_]) -> bool:
        """Remove vectors.

        Args:
            kept: which rows stay, shape (rows,).

        Returns:
            Whether the rows that stay were numbered anew from 0, in their order; else every row keeps its number.
        """
        ...

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the k nearest rows of each query.

        Args:
            vectors: queries as the metric wants them, shape (queries, dimensions).
            k: neighbours a query, at most the number of rows that may be found.
            allowed: which rows may be found, shape (rows,), or None for all.

        Returns:
            FAISS's scores (inner products or squared distances) and rows, both of shape (queries, k), nearest first,
            none missing.
        """
        ...


_STRUCTURES: dict[Kind, type[Any]] = {"flat": FlatStructure, "hnsw": HnswStructure, "ivf": IvfStructure}
_FAISS: dict[Kind, type[Any]] = {
    "flat": faiss.IndexFlat,
    "hnsw": faiss.IndexHNSWSQ,
    "ivf": faiss.IndexIVFScalarQuantizer,
}


def wrap(kind: Kind, index: Any) -> Structure | None:
    """Take up an index that FAISS read.

    Args:
        kind: the structure it should be.
        index: FAISS's index.

    Returns:
        The structure, or None where the index is of another kind.
    """
    structure: Structure | None = _STRUCTURES[kind](index) if isinstance(index, _FAISS[kind]) else None
    return structure
