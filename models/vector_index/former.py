"""The former functions of a flat cosine index, as aliases."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.vector_index.building import build
from models.vector_index.index import VectorIndex
from models.vector_index.neighbours import Neighbours


def build_flat(vectors: ArrayLike, ids: NDArray[np.int64]) -> VectorIndex:
    """Build a flat cosine index without labels; see `build`."""
    values = np.asarray(vectors, dtype=np.float32)
    return build([(values, ids, np.zeros(len(values), dtype=np.int64))], encoder="", kind="flat")


def search(index: VectorIndex, queries: ArrayLike, k: int, exclude: NDArray[np.int64] | None = None) -> Neighbours:
    """Search an index with vectors of its own encoder; see `VectorIndex.search`."""
    return index.search(queries, k, encoder=index.encoder, exclude=exclude)
