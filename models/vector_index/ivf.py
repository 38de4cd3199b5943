"""Search in inverted lists: the vectors are grouped by k-means, and only the groups nearest to a query are read.

Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011 (the lists; the vectors themselves
are kept whole as float16). FAISS can read the lists of a file on demand, so they serve what memory does not hold.
"""

import math
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from models.vector_index.faiss_adapter import list_ids, selector, stored_bytes
from models.vector_index.structure import Structure

# Lists are what building costs, so the least of FAISS's advice for nlist, which is 4 to 16 times the root of the
# number of vectors.
NLIST_PER_ROOT = 4
POINTS_PER_CENTROID = 40  # vectors of the training set per list; FAISS asks for 39
TRAINING_VECTORS = 131_072  # that k-means sees at most: 256 MiB of 512 dimensions
NITER = 6  # iterations of k-means; ten raised recall among 10⁵ vectors by .004
# Lists that a query reads: recall@10 above .95 from 10⁴ vectors on, in a mixture of 5000 clusters of 32 dimensions.
NPROBE = 80


class IvfStructure(Structure):
    """Vectors in lists, one around each centroid of k-means."""

    faiss_class = faiss.IndexIVFScalarQuantizer

    @classmethod
    def new(cls, dimension: int, metric: int, size: int, training: NDArray[np.float32]) -> "IvfStructure":
        """Place the lists; they are still empty.

        Args:
            dimension: of the vectors.
            metric: FAISS's constant.
            size: vectors that are to be added.
            training: some of them, as the metric wants them, shape (at most TRAINING_VECTORS, dimensions).

        Returns:
            The structure.
        """
        nlist = max(1, min(int(NLIST_PER_ROOT * math.sqrt(size)), len(training) // POINTS_PER_CENTROID))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlat(dimension, metric), dimension, nlist, faiss.ScalarQuantizer.QT_fp16, metric, False
        )
        index.cp.niter = NITER
        index.cp.max_points_per_centroid = POINTS_PER_CENTROID
        index.cp.min_points_per_centroid = 1  # tiny sets have one list; FAISS would warn of it
        index.train(training)
        return cls(index)

    def fits(self, rows: int) -> bool:
        """Look into every list for rows that are not there; see `Structure`."""
        index, quantizer = self.index, faiss.downcast_index(self.index.quantizer)
        if not (
            index.ntotal == rows
            and isinstance(quantizer, faiss.IndexFlat)
            and quantizer.d == index.d
            and quantizer.ntotal == index.nlist == index.invlists.nlist
            and stored_bytes(quantizer) == index.nlist * index.d * 4
            and index.is_trained
            and index.sq.qtype == faiss.ScalarQuantizer.QT_fp16
            and index.sq.d == index.d
            and index.code_size == index.invlists.code_size == index.sq.code_size == 2 * index.d
        ):
            return False
        return all(ids.min(initial=0) >= 0 and ids.max(initial=-1) < rows for ids in list_ids(index))

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find near rows in the nearest lists, in more of them where few rows may be found; see `Structure`."""
        chosen = None if allowed is None else selector(allowed)
        share = 1.0 if allowed is None else float(allowed.mean())
        scores, rows = self._search(vectors, k, chosen, min(self.index.nlist, math.ceil(NPROBE / share)))
        short = (rows < 0).any(axis=1)
        if short.any():
            scores[short], rows[short] = self._search(vectors[short], k, chosen, self.index.nlist)
        return scores, rows

    def _search(
        self, vectors: NDArray[np.float32], k: int, chosen: Any, nprobe: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        reading = faiss.SearchParametersIVF(sel=chosen, nprobe=nprobe)  # type: ignore[call-arg]
        scores, rows = self.index.search(vectors, k, params=reading)
        return scores, rows
