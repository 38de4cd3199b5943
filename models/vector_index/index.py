"""An index that knows what its vectors are: their ids, their labels, and the encoder that made them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError
from models.vector_index.kinds import Kind, Metric
from models.vector_index.neighbours import Neighbours
from models.vector_index.normalization import finite_rows, normalize
from models.vector_index.shards import require_one_each
from models.vector_index.structure import Structure

_NO_ROW = -1


def prepare(vectors: ArrayLike, metric: Metric) -> NDArray[np.float32]:
    """Bring vectors or queries into the form that the metric compares.

    Args:
        vectors: shape (vectors, dimensions), any numeric type.
        metric: the metric.

    Returns:
        Float32 rows, for the cosine of length one.

    Raises:
        InputError: the array has another shape, or a vector is not finite or, for the cosine, zero.
    """
    return normalize(vectors) if metric == "cosine" else finite_rows(vectors)


class VectorIndex:
    """Vectors that can be searched and added to; `build` and `load` are the ways to get one.

    Args:
        structure: the vectors.
        kind: its kind.
        metric: what "near" means.
        encoder: identity of what made the vectors.
        ids: id of each row of the structure, shape (rows,); None for an empty structure.
        labels: label of each row, shape (rows,).

    Attributes:
        structure: the vectors in FAISS.
        kind: structure that holds them.
        metric: what "near" means.
        encoder: identity of what made them; queries must have the same.
        ids: ids of the vectors in the order they were added, shape (vectors,).
        labels: labels of the vectors in the same order, shape (vectors,).
    """

    def __init__(
        self,
        structure: Structure,
        *,
        kind: Kind,
        metric: Metric,
        encoder: str,
        ids: NDArray[np.int64] | None = None,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        self.structure = structure
        self.kind: Kind = kind
        self.metric: Metric = metric
        self.encoder = encoder
        self.ids = np.empty(0, dtype=np.int64) if ids is None else ids
        self.labels = np.empty(0, dtype=np.int64) if labels is None else labels
        self._order = np.argsort(self.ids, kind="stable")  # quick where the ids rise, as they mostly do

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """Dimension of the vectors."""
        return int(self.structure.index.d)

    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        encoder: str,
        exclude: NDArray[np.int64] | None = None,
        allowed: NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """Find the k most similar vectors of each query; equal similarities are ordered by id.

        A flat index is exact, ties beyond the cut included. The others may miss neighbours, but always return k.

        Args:
            queries: shape (queries, dimensions), any numeric type; for the cosine they are normalised here.
            k: neighbours per query.
            encoder: identity of what made the queries.
            exclude: the id that each query has in the index, shape (queries,); it is left out by that id, never by
                its rank, so that exact duplicates of the query stay. An id that the index does not hold excludes
                nothing. None excludes nothing.
            allowed: ids that may be found, any number of them; ids that the index does not hold allow nothing. None
                allows all.

        Returns:
            The neighbours.

        Raises:
            InputError: another encoder made the queries, a query has no direction or other dimensions, or k is not
                positive or exceeds what the index can give a query.
        """
        vectors = self._require_fitting(queries, encoder, "queries")
        mask = None if allowed is None else self._mask(allowed)
        size = len(self) if mask is None else int(mask.sum())
        # An excluded id leaves one neighbour fewer.
        available = size
        if exclude is not None:
            exclude = np.asarray(exclude, dtype=np.int64)
            rows = self._rows(exclude)
            rows = rows[rows != _NO_ROW]
            available -= int(len(rows) > 0 if mask is None else mask[rows].any())
        if not 1 <= k <= available:
            raise InputError(
                f"k = {k} neighbours were asked of an index that can give a query {available}; "
                + (f"choose k from 1 to {available}." if available else "allow more ids, or index more vectors.")
            )
        return self._nearest(vectors, k, exclude, mask, size)

    def add(self, vectors: ArrayLike, ids: NDArray[np.int64], labels: NDArray[np.int64], *, encoder: str) -> None:
        """Add vectors; nothing is changed where one cannot be added.

        Args:
            vectors: shape (vectors, dimensions), any numeric type; for the cosine they are normalised here.
            ids: one id per vector, not negative, none twice and none that the index holds, shape (vectors,).
            labels: one label per vector, shape (vectors,).
            encoder: identity of what made the vectors.

        Raises:
            InputError: another encoder made the vectors, one has no direction or other dimensions, or ids or labels do
                not fit.
        """
        prepared = self._require_fitting(vectors, encoder, "vectors")
        ids, labels = np.asarray(ids, dtype=np.int64), np.asarray(labels, dtype=np.int64)
        require_one_each(len(prepared), ids, labels)
        if len(np.unique(ids)) < len(ids) or (ids < 0).any():
            raise InputError(
                "The ids of the vectors repeat or are negative, but each must name one vector; number the vectors "
                "from 0."
            )
        known = ids[self._rows(ids) != _NO_ROW]
        if len(known):
            raise InputError(
                f"The index already holds id {known[0]}, but each id must name one vector; choose another id."
            )
        if not len(ids):
            return
        self.structure.index.add(prepared)
        self.ids, self.labels = np.concatenate([self.ids, ids]), np.concatenate([self.labels, labels])
        self._order = np.argsort(self.ids, kind="stable")

    def cosines(self, queries: ArrayLike, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Compute the cosine of queries and vectors of the index, whatever its metric.

        Args:
            queries: shape (queries, dimensions), any numeric type.
            ids: ids that the index holds, shape (queries, k).

        Returns:
            Cosines in [-1, 1], shape (queries, k).

        Raises:
            InputError: a query or a vector has no direction.
        """
        vectors = normalize(self.vectors(ids.ravel())).reshape(*ids.shape, -1)
        return np.einsum("qd,qkd->qk", normalize(queries), vectors).clip(-1, 1)

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return vectors as they were added, for the cosine of length one.

        Args:
            ids: ids that the index holds, any shape.

        Returns:
            Float32, shape (*ids, dimensions).
        """
        if self.kind == "ivf":
            self.structure.index.make_direct_map()
        found: NDArray[np.float32] = self.structure.index.reconstruct_batch(self._rows(ids.ravel()))
        return found.reshape(*ids.shape, self.dimension)

    def _rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each id, -1 where the index does not hold it."""
        if not len(self):
            return np.full(ids.shape, _NO_ROW)
        rows = self._order[np.searchsorted(self.ids, ids, sorter=self._order).clip(max=len(self) - 1)]
        return np.where(self.ids[rows] == ids, rows, _NO_ROW)

    def _mask(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows have one of these ids."""
        rows = self._rows(np.asarray(ids, dtype=np.int64).ravel())
        mask = np.zeros(len(self), dtype=bool)
        mask[rows[rows != _NO_ROW]] = True
        return mask

    def _require_fitting(self, vectors: ArrayLike, encoder: str, name: str) -> NDArray[np.float32]:
        if encoder != self.encoder:
            raise InputError(
                f"The {name} come from the encoder {encoder!r} and the index from {self.encoder!r}, and their vectors "
                "cannot be compared; embed both with the same encoder."
            )
        prepared = prepare(vectors, self.metric)
        if prepared.shape[1] != self.dimension:
            raise InputError(
                f"The {name} have {prepared.shape[1]} dimensions and the index {self.dimension}; embed both with the "
                "same model."
            )
        return prepared

    def _nearest(
        self,
        vectors: NDArray[np.float32],
        k: int,
        exclude: NDArray[np.int64] | None,
        mask: NDArray[np.bool_] | None,
        size: int,
    ) -> Neighbours:
        """Search, ever further for those queries whose ties go on beyond what was fetched."""
        similarities = np.empty((len(vectors), k), dtype=np.float32)
        ids = np.empty((len(vectors), k), dtype=np.int64)
        pending = np.arange(len(vectors))
        fetched = min(k + 2, size)  # one covers the excluded id, and one shows whether a tie goes on beyond the cut
        while len(pending):
            scores, rows = self.structure.search(vectors[pending], fetched, mask)
            found, found_ids = self._similarities(scores), self.ids[rows]
            tied = np.zeros(len(pending), dtype=bool)
            if fetched < size:
                tied = found[:, -1] == found[:, k]
            if exclude is not None:
                found = np.where(found_ids == exclude[pending, None], -np.inf, found)
            order = np.lexsort((found_ids, -found), axis=1)[:, :k]
            similarities[pending] = np.take_along_axis(found, order, axis=1)
            ids[pending] = np.take_along_axis(found_ids, order, axis=1)
            pending, fetched = pending[tied], min(2 * fetched, size)
        return Neighbours(similarities, ids, self.metric)

    def _similarities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.metric == "cosine":
            return scores.clip(-1, 1)
        return -np.sqrt(scores.clip(min=0))
