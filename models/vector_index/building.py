"""From shards of vectors to an index."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.vector_index.flat import FlatStructure
from models.vector_index.hnsw import HnswStructure
from models.vector_index.index import VectorIndex, prepare
from models.vector_index.ivf import TRAINING_VECTORS, IvfStructure
from models.vector_index.kinds import Kind, Metric, choose_kind, faiss_metric
from models.vector_index.shards import Shard, count, sample
from models.vector_index.structure import Structure

_SEED = 0


def build(
    shards: Iterable[Shard], *, encoder: str, kind: Kind | Literal["auto"] = "auto", metric: Metric = "cosine"
) -> VectorIndex:
    """Build an index; on one machine the same shards give the same index, byte for byte.

    The shards are gone through to count the vectors, for inverted lists again to draw what k-means is trained on
    (evenly, at most `ivf.TRAINING_VECTORS`, with a fixed seed), and to add them. One shard is in memory at a time,
    beside the index and that draw, if the shards are read as they are gone through.

    Args:
        shards: vectors, ids and labels; a single array is a list of one shard.
        encoder: identity of what made the vectors.
        kind: the structure, or "auto" to choose it by the number of vectors.
        metric: "cosine", or "l2" for the Euclidean distance.

    Returns:
        The index.

    Raises:
        InputError: there are no vectors, one has no direction, ids repeat or are negative, or counts do not fit.
    """
    size, dimension = count(shards)
    chosen = choose_kind(size) if kind == "auto" else kind
    index = VectorIndex(
        _structure(chosen, metric, dimension, size, shards), kind=chosen, metric=metric, encoder=encoder
    )
    for vectors, ids, labels in shards:
        index.add(vectors, ids, labels, encoder=encoder)
    return index


def _structure(kind: Kind, metric: Metric, dimension: int, size: int, shards: Iterable[Shard]) -> Structure:
    if kind == "flat":
        return FlatStructure.new(dimension, faiss_metric(metric))
    if kind == "hnsw":
        return HnswStructure.new(dimension, faiss_metric(metric))
    vectors: NDArray[np.float32] = prepare(sample(shards, size, TRAINING_VECTORS, _SEED)[0], metric)
    return IvfStructure.new(dimension, faiss_metric(metric), size, vectors)
