"""Search along a graph of near vectors.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
World graphs", 2018. The vectors are kept as float16, which halves the memory and moves a cosine by about 10⁻⁵.
"""

import math
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from models.vector_index.faiss_adapter import Graph, hnsw_graph, selector, stored_bytes
from models.vector_index.structure import Structure

M = 16  # links per vector and level; 32 found no more among 10⁵ vectors in clusters, and took longer to search
EF_CONSTRUCTION = 100  # candidates kept while a vector is linked in
EF_SEARCH = 64  # candidates kept while a query is searched: recall@10 of .999 on 10⁵ vectors
# Where a smaller share of the rows may be found, comparing the query with all of them is quicker than a walk that
# mostly meets others.
EXACT_SHARE = 0.1
# A walk must be as many times as broad as there are rows for one that may be found, were these spread evenly; rows of
# one class lie together, often away from the query, so more than that.
FILTER_EXPONENT = 1.5


class HnswStructure(Structure):
    """Vectors in a navigable graph."""

    faiss_class = faiss.IndexHNSWSQ

    @classmethod
    def new(cls, dimension: int, metric: int) -> "HnswStructure":
        """Make an empty structure.

        Args:
            dimension: of the vectors.
            metric: FAISS's constant.

        Returns:
            The structure.
        """
        index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, M, metric)  # type: ignore[arg-type]
        index.hnsw.efConstruction = EF_CONSTRUCTION
        return cls(index)

    def fits(self, rows: int) -> bool:
        """Follow every link of the graph to a row that is there; see `Structure`."""
        index, storage = self.index, self._storage
        if not (
            isinstance(storage, faiss.IndexScalarQuantizer)
            and storage.ntotal == index.ntotal == rows
            and storage.d == index.d == storage.sq.d
            and storage.metric_type == index.metric_type
            and storage.sq.qtype == faiss.ScalarQuantizer.QT_fp16
            and storage.code_size == storage.sq.code_size == 2 * index.d
            and stored_bytes(storage) == rows * 2 * index.d
        ):
            return False
        graph = hnsw_graph(index)
        levels, offsets, links, cumulative = graph.levels, graph.offsets, graph.neighbors, graph.cumulative
        if len(levels) != rows or len(offsets) != rows + 1 or offsets[0] != 0 or offsets[-1] != len(links):
            return False
        return rows == 0 or bool(
            levels.min() >= 1
            and levels.max() < len(cumulative)
            and cumulative[0] == 0
            and (np.diff(cumulative) >= 0).all()
            and (np.diff(offsets) == cumulative[levels]).all()
            and links.min(initial=-1) >= -1
            and links.max(initial=-1) < rows
            and 0 <= graph.entry_point < rows
            and 0 <= graph.max_level < levels[graph.entry_point]
            and _levels_hold(graph)
        )

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find near rows along the graph, wider where few may be found; see `Structure`."""
        chosen = None if allowed is None else selector(allowed)
        share = 1.0 if allowed is None else float(allowed.mean())
        if share < EXACT_SHARE:
            return self._search_exactly(vectors, k, chosen)
        ef_search = math.ceil(max(EF_SEARCH, k) / share**FILTER_EXPONENT)
        wider = faiss.SearchParametersHNSW(sel=chosen, efSearch=ef_search)  # type: ignore[attr-defined]
        scores, rows = self.index.search(vectors, k, params=wider)
        short = (rows < 0).any(axis=1)
        if short.any():
            scores[short], rows[short] = self._search_exactly(vectors[short], k, chosen)
        return scores, rows

    @property
    def _storage(self) -> Any:
        return faiss.downcast_index(self.index.storage)

    def _search_exactly(
        self, vectors: NDArray[np.float32], k: int, chosen: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        only = faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
        scores, rows = self._storage.search(vectors, k, params=only)
        return scores, rows


def _levels_hold(graph: Graph) -> bool:
    """Tell whether each link of a level leads to a row that has this level."""
    for level in range(1, int(graph.levels.max())):
        for row in np.flatnonzero(graph.levels > level):
            start = graph.offsets[row]
            found = graph.neighbors[start + graph.cumulative[level] : start + graph.cumulative[level + 1]]
            if (graph.levels[found[found >= 0]] <= level).any():
                return False
    return True
