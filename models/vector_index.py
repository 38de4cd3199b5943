"""Exact cosine search with FAISS.

A flat index compares a query with every vector, which is exact and right up to about 10⁵ vectors (Johnson, Douze and
Jégou, "Billion-scale similarity search with GPUs", 2019). The inner product is the cosine only of normalised
vectors, so everything here is normalised on the way in.
"""

import hashlib
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import InputError

# Through BLAS the cosine of two identical vectors differs in the last bits with their place in the block, and ties
# would be broken by that noise. FAISS's own kernel gives equal vectors equal cosines, and is no slower here.
faiss.cvar.distance_compute_blas_threshold = 2**31 - 1

_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Neighbours:
    """The nearest vectors of each query, nearest first.

    Attributes:
        similarities: cosines in [-1, 1], float32, shape (queries, k).
        ids: ids of the vectors, int64, shape (queries, k).
    """

    similarities: NDArray[np.float32]
    ids: NDArray[np.int64]


def normalize(vectors: ArrayLike) -> NDArray[np.float32]:
    """Scale vectors to length one.

    Args:
        vectors: shape (vectors, dimensions), any numeric type.

    Returns:
        Vectors of Euclidean length one, float32, same shape.

    Raises:
        InputError: the array has another shape, or a vector is zero or not finite, so that it has no direction.
    """
    values = np.asarray(vectors, dtype=np.float32)
    if values.ndim != 2:
        raise InputError(
            f"The vectors have shape {values.shape}, but (vectors, dimensions) was expected; pass one row a vector."
        )
    lengths = np.sqrt(np.einsum("vd,vd->v", values, values, dtype=np.float64))
    if not np.isfinite(lengths).all():
        row = int(np.flatnonzero(~np.isfinite(lengths))[0])
        raise InputError(
            f"Vector {row} holds NaN or infinity, but finite numbers were expected; check what the encoder computed."
        )
    if not lengths.all():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise InputError(
            f"Vector {row} is all zeros and cannot be normalised to length one; check what the encoder computed for it."
        )
    return (values / lengths[:, None]).astype(np.float32)


def build_flat(vectors: ArrayLike, ids: NDArray[np.int64]) -> faiss.IndexIDMap2:
    """Build a flat cosine index.

    Args:
        vectors: shape (vectors, dimensions), any numeric type; they are normalised here.
        ids: one id a vector, unique, not negative, shape (vectors,).

    Returns:
        The index.

    Raises:
        InputError: there are no vectors, a vector has no direction, or the ids do not fit.
    """
    unit = normalize(vectors)
    ids = np.asarray(ids, dtype=np.int64)
    if not len(unit):
        raise InputError("There are no vectors to index, but at least one was expected; check the split's size.")
    if ids.shape != (len(unit),):
        raise InputError(
            f"There are {len(unit)} vectors and ids of shape {ids.shape}, but one id a vector was expected; pass both "
            "for the same images."
        )
    if len(np.unique(ids)) < len(ids) or ids.min() < 0:
        raise InputError(
            "The ids of the vectors repeat or are negative, but each must name one vector; number the vectors from 0."
        )
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(unit.shape[1]))
    index.add_with_ids(unit, ids)
    return index


def dump(index: faiss.IndexIDMap2) -> bytes:
    """Serialise an index: FAISS's own format with a SHA-256 digest behind it, which FAISS's reader ignores.

    Args:
        index: the index.

    Returns:
        The bytes, the same for the same index.
    """
    content = faiss.serialize_index(index).tobytes()
    return content + hashlib.sha256(content).digest()


def load(content: bytes) -> faiss.IndexIDMap2:
    """Read an index that `dump` wrote.

    Args:
        content: the bytes.

    Returns:
        The index.

    Raises:
        InputError: the bytes are damaged or are no such index.
    """
    body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    # FAISS itself reads most damaged files without complaint, hence the digest.
    if hashlib.sha256(body).digest() != digest:
        raise InputError(
            f"The vector index ({len(content)} bytes) is damaged: its SHA-256 differs from the one written with it; "
            "delete it and build it again."
        )
    index = faiss.deserialize_index(np.frombuffer(body, dtype=np.uint8))
    if not isinstance(index, faiss.IndexIDMap2):
        raise InputError(
            f"The vector index is a {type(index).__name__}, but a flat index with ids (IndexIDMap2) was expected; "
            "build it again."
        )
    return index


def search(
    index: faiss.IndexIDMap2, queries: ArrayLike, k: int, exclude: NDArray[np.int64] | None = None
) -> Neighbours:
    """Find the k most similar vectors of each query; equal similarities are ordered by id.

    Args:
        index: an index that `build_flat` or `load` made.
        queries: shape (queries, dimensions), any numeric type; they are normalised here.
        k: neighbours a query.
        exclude: the id that each query has in the index, shape (queries,); it is left out by that id, never by its
            rank, so that exact duplicates of the query stay. An id that the index does not hold excludes nothing.
            None excludes nothing.

    Returns:
        The neighbours.

    Raises:
        InputError: a query has no direction or other dimensions, k is not positive, or k exceeds what the index can
            give a query.
    """
    unit = normalize(queries)
    if unit.shape[1] != index.d:
        raise InputError(
            f"The queries have {unit.shape[1]} dimensions and the index {index.d}; embed both with the same model."
        )
    # An excluded id leaves one neighbour fewer.
    available = index.ntotal
    if exclude is not None:
        exclude = np.asarray(exclude, dtype=np.int64)
        available -= int(np.isin(exclude, faiss.vector_to_array(index.id_map)).any())
    if not 1 <= k <= available:
        raise InputError(
            f"k = {k} neighbours were asked of an index that can give a query {available}; choose k from 1 to "
            f"{available}."
        )

    # One more than k covers the excluded id, and one more shows whether a tie goes on beyond the cut.
    fetched = min(k + 2, index.ntotal)
    similarities, ids = index.search(unit, fetched)
    while fetched < index.ntotal and (similarities[:, -1] == similarities[:, k]).any():
        fetched = min(2 * fetched, index.ntotal)
        similarities, ids = index.search(unit, fetched)

    if exclude is not None:
        similarities = np.where(ids == exclude[:, None], -np.inf, similarities)
    order = np.lexsort((ids, -similarities), axis=1)[:, :k]
    return Neighbours(
        np.take_along_axis(similarities, order, axis=1).clip(-1, 1), np.take_along_axis(ids, order, axis=1)
    )
