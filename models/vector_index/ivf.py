"""Search in inverted lists: the vectors are grouped by k-means, and only the groups nearest to a query are read.

Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011 (the lists; the vectors themselves
are kept whole as float16). Lists can be read from disk on demand, so they serve what memory does not hold.
"""

import math
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from models.vector_index.selection import selector

SAMPLE = 131_072  # vectors that k-means sees at most: 256 MiB of 512 dimensions
# Lists are what building costs, so the least of FAISS's advice, which is 4 to 16 times the root of the vectors' number.
LISTS_PER_ROOT = 4
SAMPLES_PER_LIST = 40  # FAISS asks for 39
ROUNDS = 6  # of k-means; ten raised recall among 10⁵ vectors by .004
# Lists a query reads: recall@10 above .95 from 10⁴ vectors on, in a mixture of 5000 clusters of 32 dimensions.
PROBES = 80


class IvfStructure:
    """Vectors in lists, one around each centre of k-means.

    Attributes:
        index: FAISS's index.
    """

    def __init__(self, index: Any) -> None:
        self.index = index

    @classmethod
    def new(cls, dimension: int, metric: int, size: int, sample: NDArray[np.float32]) -> "IvfStructure":
        """Place the lists; they are still empty.

        Args:
            dimension: of the vectors.
            metric: FAISS's constant.
            size: vectors that are to be added.
            sample: some of them, as the metric wants them, shape (at most SAMPLE, dimensions).

        Returns:
            The structure.
        """
        lists = max(1, min(int(LISTS_PER_ROOT * math.sqrt(size)), len(sample) // SAMPLES_PER_LIST))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlat(dimension, metric), dimension, lists, faiss.ScalarQuantizer.QT_fp16, metric, False
        )
        index.cp.niter = ROUNDS
        index.cp.max_points_per_centroid = SAMPLES_PER_LIST
        index.cp.min_points_per_centroid = 1  # tiny sets have one list; FAISS would warn of it
        index.train(sample)
        return cls(index)

    def fits(self, rows: int) -> bool:
        """Look into every list for rows that are not there; see `Structure`."""
        index, quantizer, lists = self.index, faiss.downcast_index(self.index.quantizer), self.index.invlists
        if not (
            isinstance(quantizer, faiss.IndexFlat)
            and quantizer.d == index.d
            and quantizer.ntotal == index.nlist == lists.nlist
            and quantizer.codes.size() == index.nlist * index.d * 4
            and index.is_trained
            and index.sq.qtype == faiss.ScalarQuantizer.QT_fp16
            and index.sq.d == index.d
            and index.code_size == lists.code_size == index.sq.code_size == 2 * index.d
        ):
            return False
        for place in range(index.nlist):
            size = lists.list_size(place)
            if size:
                found = faiss.rev_swig_ptr(lists.get_ids(place), size)
                if found.min() < 0 or found.max() >= rows:
                    return False
        return True

    def add(self, vectors: NDArray[np.float32], first_row: int) -> None:
        """Add vectors to their lists; see `Structure`."""
        self.index.add_with_ids(vectors, np.arange(first_row, first_row + len(vectors)))

    def remove(self, kept: NDArray[np.bool_]) -> bool:
        """Take vectors out of their lists; see `Structure`."""
        self.index.remove_ids(selector(~kept))
        return False

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find near rows in the nearest lists, in more of them where few rows may be found; see `Structure`."""
        chosen = None if allowed is None else selector(allowed)
        share = 1.0 if allowed is None else float(allowed.mean())
        probes = min(self.index.nlist, math.ceil(PROBES / share))
        scores, rows = self._search(vectors, k, chosen, probes)
        short = (rows < 0).any(axis=1)
        if short.any():
            scores[short], rows[short] = self._search(vectors[short], k, chosen, self.index.nlist)
        return scores, rows

    def _search(
        self, vectors: NDArray[np.float32], k: int, chosen: Any, probes: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        reading = faiss.SearchParametersIVF(sel=chosen, nprobe=probes)  # type: ignore[call-arg]
        scores, rows = self.index.search(vectors, k, params=reading)
        return scores, rows
