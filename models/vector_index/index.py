"""An index that knows what its vectors are: their ids, their labels, and the encoder that made them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError
from models.vector_index.kinds import Kind, Metric
from models.vector_index.neighbours import Neighbours
from models.vector_index.normalization import finite_rows, normalize
from models.vector_index.shards import require_one_each
from models.vector_index.structures import Structure

_GONE = -1  # the id of a row whose vector was removed


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
    """Vectors that can be searched, added and removed by id.

    Attributes:
        kind: structure that holds them.
        metric: what "near" means.
        encoder: identity of what made them; queries must have the same.
        read_only: whether the vectors stay in a file, so that none can be added or removed.
    """

    def __init__(
        self,
        structure: Structure,
        *,
        kind: Kind,
        metric: Metric,
        encoder: str,
        row_ids: NDArray[np.int64] | None = None,
        row_labels: NDArray[np.int64] | None = None,
        digest: str | None = None,
        read_only: bool = False,
    ) -> None:
        """Put an index together; `build`, `load` and `open_mapped` are the ways to get one.

        Args:
            structure: the vectors.
            kind: its kind.
            metric: the metric.
            encoder: identity of what made the vectors.
            row_ids: id of each row, -1 where its vector was removed, shape (rows,); None for an empty structure.
            row_labels: label of each row, shape (rows,).
            digest: of the content where it is known.
            read_only: whether the vectors stay in a file.
        """
        self.kind: Kind = kind
        self.metric: Metric = metric
        self.encoder = encoder
        self.read_only = read_only
        self._structure = structure
        self._row_ids = np.empty(0, dtype=np.int64) if row_ids is None else row_ids
        self._row_labels = np.empty(0, dtype=np.int64) if row_labels is None else row_labels
        self._digest = digest
        self._follow_rows()

    def __len__(self) -> int:
        return len(self._sorted_ids)

    @property
    def structure(self) -> Structure:
        """The vectors in FAISS."""
        return self._structure

    @property
    def row_ids(self) -> NDArray[np.int64]:
        """Id of each row of the structure, -1 where its vector was removed, shape (rows,)."""
        return self._row_ids

    @property
    def row_labels(self) -> NDArray[np.int64]:
        """Label of each row of the structure, shape (rows,)."""
        return self._row_labels

    @property
    def dimension(self) -> int:
        """Dimension of the vectors."""
        return int(self._structure.index.d)

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids of the vectors in the order they were added, shape (vectors,)."""
        return self._row_ids[self._row_ids != _GONE]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of the vectors in the order of `ids`, shape (vectors,)."""
        return self._row_labels[self._row_ids != _GONE]

    @property
    def digest(self) -> str:
        """SHA-256 of everything that `dump` writes, as 64 hexadecimal digits; computed when first asked for."""
        if self._digest is None:
            from models.vector_index.storage import write  # storage knows this class

            self._digest = write(self, lambda piece: None)
        return self._digest

    def labels_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Look labels up.

        Args:
            ids: ids that the index holds, any shape.

        Returns:
            Their labels, the same shape.

        Raises:
            InputError: the index does not hold an id.
        """
        return self._row_labels[self._require_rows(np.asarray(ids, dtype=np.int64))]

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
            k: neighbours a query.
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
        mask = self._mask(allowed)
        size = len(self) if mask is None else int(mask.sum())
        # An excluded id leaves one neighbour fewer.
        available = size
        if exclude is not None:
            exclude = np.asarray(exclude, dtype=np.int64)
            rows = self._rows(exclude)
            rows = rows[rows != _GONE]
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
            ids: one id a vector, not negative, none twice and none that the index holds, shape (vectors,).
            labels: one label a vector, shape (vectors,).
            encoder: identity of what made the vectors.

        Raises:
            InputError: another encoder made the vectors, one has no direction or other dimensions, ids or labels do
                not fit, or the index is read-only.
        """
        self._require_writable()
        prepared = self._require_fitting(vectors, encoder, "vectors")
        ids, labels = np.asarray(ids, dtype=np.int64), np.asarray(labels, dtype=np.int64)
        require_one_each(len(prepared), ids, labels)
        if len(np.unique(ids)) < len(ids) or (ids < 0).any():
            raise InputError(
                "The ids of the vectors repeat or are negative, but each must name one vector; number the vectors "
                "from 0."
            )
        known = ids[self._rows(ids) != _GONE]
        if len(known):
            raise InputError(
                f"The index already holds id {known[0]}, but each id must name one vector; remove it first, or choose "
                "another id."
            )
        if not len(ids):
            return
        self._structure.add(prepared, len(self._row_ids))
        self._row_ids = np.concatenate([self._row_ids, ids])
        self._row_labels = np.concatenate([self._row_labels, labels])
        self._digest = None
        self._follow_rows()

    def remove(self, ids: NDArray[np.int64]) -> None:
        """Remove vectors; nothing is changed where one cannot be removed.

        A graph keeps the coordinates of removed vectors, which are never found, until a fifth of it is gone; then it
        is built anew. The other kinds drop them at once.

        Args:
            ids: ids that the index holds, shape (ids,).

        Raises:
            InputError: the index does not hold an id, or is read-only.
        """
        self._require_writable()
        gone = self._require_rows(np.asarray(ids, dtype=np.int64).ravel())
        if not len(gone):
            return
        kept = self._row_ids != _GONE
        kept[gone] = False
        if self._structure.remove(kept):
            self._row_ids, self._row_labels = self._row_ids[kept], self._row_labels[kept]
        else:
            self._row_ids = np.where(kept, self._row_ids, _GONE)
        self._digest = None
        self._follow_rows()

    def _follow_rows(self) -> None:
        """Bring up to date what follows from the rows."""
        order = np.argsort(self._row_ids, kind="stable")  # quick where the ids rise, as they mostly do
        order = order[np.searchsorted(self._row_ids, 0, sorter=order) :]
        self._sorted_ids, self._sorted_rows = self._row_ids[order], order
        self._present = None if len(order) == len(self._row_ids) else self._row_ids != _GONE

    def _rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each id, -1 where the index does not hold it."""
        if not len(self):
            return np.full(ids.shape, _GONE)
        places = np.searchsorted(self._sorted_ids, ids).clip(max=len(self) - 1)
        return np.where(self._sorted_ids[places] == ids, self._sorted_rows[places], _GONE)

    def _require_rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = self._rows(ids)
        unknown = ids[rows == _GONE]
        if len(unknown):
            raise InputError(
                f"The index does not hold id {unknown[0]}; choose among the {len(self)} ids that it holds."
            )
        return rows

    def _require_writable(self) -> None:
        if self.read_only:
            raise InputError(
                "The index is memory-mapped and cannot be changed; load it into memory, change it, and save it anew."
            )

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

    def _mask(self, allowed: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
        """Which rows may be found, or None for all."""
        if allowed is None:
            return self._present
        rows = self._rows(np.asarray(allowed, dtype=np.int64).ravel())
        mask = np.zeros(len(self._row_ids), dtype=bool)
        mask[rows[rows != _GONE]] = True
        return mask

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
            scores, rows = self._structure.search(vectors[pending], fetched, mask)
            found, found_ids = self._similarities(scores), self._row_ids[rows]
            tied = np.zeros(len(pending), dtype=bool)
            if fetched < size:
                tied = found[:, -1] == found[:, k]
            if exclude is not None:
                found = np.where(found_ids == exclude[pending, None], -np.inf, found)
            order = np.lexsort((found_ids, -found), axis=1)[:, :k]
            similarities[pending] = np.take_along_axis(found, order, axis=1)
            ids[pending] = np.take_along_axis(found_ids, order, axis=1)
            pending, fetched = pending[tied], min(2 * fetched, size)
        return Neighbours(similarities, ids)

    def _similarities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.metric == "cosine":
            return scores.clip(-1, 1)
        return -np.sqrt(scores.clip(min=0))
