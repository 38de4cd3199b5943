"""Search along a graph of near vectors.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
World graphs", 2018. The vectors are kept as float16, which halves the memory and moves a cosine by about 10⁻⁵.
"""

import math
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from models.vector_index.selection import selector

LINKS = 16  # M; 32 links found no more among 10⁵ vectors in clusters, and took longer to search
BUILD_BREADTH = 100  # efConstruction
SEARCH_BREADTH = 64  # efSearch: recall@10 of .999 on 10⁵ vectors
# Where a smaller share of the rows may be found, comparing the query with all of them is quicker than a walk that
# mostly meets others.
EXACT_SHARE = 0.1
# A walk must be as many times as broad as there are rows for one that may be found, were these spread evenly; rows of
# one class lie together, often away from the query, so more than that.
FILTER_EXPONENT = 1.5
# FAISS cannot take a vector out of a graph. A removed one stays as a way to others and is never found, until so large
# a share is gone that the graph is built anew.
REMOVED_SHARE = 0.2

_BLOCK = 50_000  # vectors that a rebuilding holds in memory as float32 at a time


class HnswStructure:
    """Vectors in a navigable graph.

    Attributes:
        index: FAISS's index.
    """

    def __init__(self, index: Any) -> None:
        self.index = index

    @classmethod
    def new(cls, dimension: int, metric: int) -> "HnswStructure":
        """Make an empty structure.

        Args:
            dimension: of the vectors.
            metric: FAISS's constant.

        Returns:
            The structure.
        """
        index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, LINKS, metric)  # type: ignore[arg-type]
        index.hnsw.efConstruction = BUILD_BREADTH
        return cls(index)

    def fits(self, rows: int) -> bool:
        """Follow every link of the graph to a row that is there; see `Structure`."""
        index, storage, graph = self.index, self._storage, self.index.hnsw
        if not (
            isinstance(storage, faiss.IndexScalarQuantizer)
            and storage.ntotal == index.ntotal == rows
            and storage.d == index.d == storage.sq.d
            and storage.metric_type == index.metric_type
            and storage.sq.qtype == faiss.ScalarQuantizer.QT_fp16
            and storage.code_size == storage.sq.code_size == 2 * index.d
            and storage.codes.size() == rows * 2 * index.d
        ):
            return False
        levels, offsets = faiss.vector_to_array(graph.levels), faiss.vector_to_array(graph.offsets).astype(np.int64)
        links, widths = faiss.vector_to_array(graph.neighbors), faiss.vector_to_array(graph.cum_nneighbor_per_level)
        if len(levels) != rows or len(offsets) != rows + 1 or offsets[0] != 0 or offsets[-1] != len(links):
            return False
        if rows == 0:
            return True
        top = int(levels.max())
        return bool(
            levels.min() >= 1
            and top < len(widths)
            and widths[0] == 0
            and (np.diff(widths) >= 0).all()
            and (np.diff(offsets) == widths[levels]).all()
            and links.min(initial=-1) >= -1
            and links.max(initial=-1) < rows
            and 0 <= graph.entry_point < rows
            and 0 <= graph.max_level < levels[graph.entry_point]
            and self._levels_hold(levels, offsets, links, widths)
        )

    @staticmethod
    def _levels_hold(
        levels: NDArray[np.int32], offsets: NDArray[np.int64], links: NDArray[np.int32], widths: NDArray[np.int32]
    ) -> bool:
        """Tell whether each link of a level leads to a row that has this level."""
        for level in range(1, int(levels.max())):
            for row in np.flatnonzero(levels > level):
                found = links[offsets[row] + widths[level] : offsets[row] + widths[level + 1]]
                if (levels[found[found >= 0]] <= level).any():
                    return False
        return True

    def add(self, vectors: NDArray[np.float32], first_row: int) -> None:
        """Link vectors into the graph; see `Structure`."""
        self.index.add(vectors)

    def remove(self, kept: NDArray[np.bool_]) -> bool:
        """Build the graph anew if a fifth of it is gone; see `Structure`."""
        if (~kept).mean() <= REMOVED_SHARE:
            return False
        rebuilt = self.new(self.index.d, self.index.metric_type)
        rows = np.flatnonzero(kept)
        for start in range(0, len(rows), _BLOCK):
            rebuilt.add(self._storage.reconstruct_batch(rows[start : start + _BLOCK]), start)
        self.index = rebuilt.index
        return True

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find near rows along the graph, wider where few may be found; see `Structure`."""
        chosen = None if allowed is None else selector(allowed)
        share = 1.0 if allowed is None else float(allowed.mean())
        if share < EXACT_SHARE:
            return self._search_exactly(vectors, k, chosen)
        breadth = math.ceil(max(SEARCH_BREADTH, k) / share**FILTER_EXPONENT)
        wider = faiss.SearchParametersHNSW(sel=chosen, efSearch=breadth)  # type: ignore[attr-defined]
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
