"""What is used of FAISS beyond its documented Python interface; `tests/upstream/test_faiss.py` checks each of it."""

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

# Through BLAS the cosine of two identical vectors differs in the last bits with their place in the block, and ties
# would be broken by that noise. FAISS's own kernel gives equal vectors equal cosines. FAISS takes BLAS, which is four
# times as fast on 10⁵ vectors, from this many numbers (queries × dimensions) per call: the exact search stays below,
# k-means and the assignment to lists, where ties do not matter, mostly above. The setting is the process's and is
# never changed again, so that threads agree on it.
BLAS_FROM = 2**21
faiss.cvar.distance_compute_blas_threshold = BLAS_FROM

_one_reads = threading.Lock()  # FAISS's limits are the process's


class Graph(NamedTuple):
    """The links of an HNSW index.

    Attributes:
        levels: number of levels that each row is on, shape (rows,).
        offsets: where the links of each row begin, and the end of the last, shape (rows + 1,).
        neighbors: rows that the links lead to, -1 where there is none, those of a row level by level.
        cumulative: links per row below each level.
        entry_point: row where a search begins.
        max_level: highest level.
    """

    levels: NDArray[np.int32]
    offsets: NDArray[np.int64]
    neighbors: NDArray[np.int32]
    cumulative: NDArray[np.int32]
    entry_point: int
    max_level: int


def selector(rows: NDArray[np.bool_]) -> Any:
    """Let a search see only some rows.

    Args:
        rows: which rows it may find, shape (rows,).

    Returns:
        FAISS's selector.
    """
    return faiss.IDSelectorBitmap(np.packbits(rows, bitorder="little"))  # type: ignore[call-arg, arg-type]


def hnsw_graph(index: Any) -> Graph:
    """Copy the links of an HNSW index.

    Args:
        index: FAISS's index.

    Returns:
        The links.
    """
    graph = index.hnsw
    levels, offsets, neighbors, cumulative = (
        faiss.vector_to_array(part)
        for part in (graph.levels, graph.offsets, graph.neighbors, graph.cum_nneighbor_per_level)
    )
    return Graph(levels, offsets.astype(np.int64), neighbors, cumulative, graph.entry_point, graph.max_level)


def list_ids(index: Any) -> Iterator[NDArray[np.int64]]:
    """Go through the inverted lists of an IVF index.

    Args:
        index: FAISS's index.

    Yields:
        Ids of the rows in a list, shape (rows,).
    """
    lists = index.invlists
    for place in range(index.nlist):
        size = lists.list_size(place)
        yield faiss.rev_swig_ptr(lists.get_ids(place), size) if size else np.empty(0, dtype=np.int64)


def stored_bytes(index: Any) -> int:
    """Count the bytes that a flat index keeps of its vectors, whatever number of them it claims."""
    return int(index.codes.size())


def deserialize(content: memoryview) -> Any:
    """Read an index, believing no length beyond the content; FAISS itself believes any, up to a tebibyte.

    Args:
        content: what `faiss.serialize_index` gave, or anything else.

    Returns:
        FAISS's index.

    Raises:
        RuntimeError: the content is damaged.
        MemoryError: the content is damaged.
    """
    with _one_reads:
        before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(len(content))
        faiss.set_deserialization_loop_limit(len(content))
        try:
            return faiss.deserialize_index(np.frombuffer(content, dtype=np.uint8))
        finally:
            faiss.set_deserialization_vector_byte_limit(before[0])
            faiss.set_deserialization_loop_limit(before[1])
