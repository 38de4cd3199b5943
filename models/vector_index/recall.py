"""How many of the true neighbours an index finds."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.vector_index.flat import FlatStructure
from models.vector_index.index import VectorIndex, prepare
from models.vector_index.kinds import faiss_metric
from models.vector_index.shards import Shard, count, sample

_SEED = 1  # another draw than the one that k-means is trained on


def recall_at(index: VectorIndex, shards: Iterable[Shard], k: int = 10, queries: int = 256) -> float:
    """Measure recall@k: the mean share of a query's k true neighbours among the k that the index returns.

    The queries are an even draw of the index's own vectors with a fixed seed, each without itself. The truth is an
    exact search through the float32 vectors, one shard in memory at a time.

    Args:
        index: the index.
        shards: what it was built from; it holds these vectors and no others.
        k: neighbours per query.
        queries: queries at most.

    Returns:
        The recall, in [0, 1]; 1 for a flat index.

    Raises:
        InputError: the shards are not those of the index, or there are not more than k vectors.
    """
    size, _ = count(shards)
    if size != len(index):
        raise InputError(
            f"The index holds {len(index)} vectors and the shards {size}, but recall is measured on the vectors that "
            "the index was built from; pass those."
        )
    vectors, own = sample(shards, size, queries, _SEED)
    found = index.search(vectors, k, encoder=index.encoder, exclude=own).ids
    true = _search_exactly(index, shards, vectors, own, k)
    return float(np.mean([len(np.intersect1d(ours, theirs)) / k for ours, theirs in zip(found, true, strict=True)]))


def _search_exactly(
    index: VectorIndex, shards: Iterable[Shard], queries: NDArray[np.float32], own: NDArray[np.int64], k: int
) -> NDArray[np.int64]:
    """The k nearest ids of each query, nearest first, equally near ones by id."""
    unit = prepare(queries, index.metric)
    sign = -1 if index.metric == "cosine" else 1  # so that less is nearer
    best = np.full((len(unit), k), np.inf, dtype=np.float32)
    best_ids = np.full((len(unit), k), -1, dtype=np.int64)
    for vectors, ids, _ in shards:
        if not len(vectors):
            continue
        shard = FlatStructure.new(unit.shape[1], faiss_metric(index.metric))
        shard.index.add(prepare(vectors, index.metric))
        scores, rows = shard.search(unit, min(k + 1, len(vectors)), None)  # one more for the query itself
        found_ids = np.asarray(ids)[rows]
        far = np.where(found_ids == own[:, None], np.inf, sign * scores)
        merged, merged_ids = np.hstack([best, far]), np.hstack([best_ids, found_ids])
        order = np.lexsort((merged_ids, merged), axis=1)[:, :k]
        best, best_ids = np.take_along_axis(merged, order, axis=1), np.take_along_axis(merged_ids, order, axis=1)
    return best_ids
