"""Vectors of images: how they are numbered, read from the store, and compared one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.choices import Similarity
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, IndexRecord
from tasks.retrieval.settings import SPLITS
from tasks.storage.store import Store

if TYPE_CHECKING:
    from models.vector_index import Neighbours, Shard, VectorIndex


@dataclass(frozen=True)
class LabelledVectors:
    """Embeddings of one split.

    Attributes:
        vectors: shape (images, dimension).
        labels: class of each image, shape (images,).
    """

    vectors: NDArray[np.floating]
    labels: NDArray[np.integer]


class Shards:
    """Vectors with ids and labels, read from the store shard by shard each time they are gone through.

    Args:
        store: where they lie.
        dataset: whose images they are of.
        embeddings: the vectors.
        label: the class whose vectors are taken; None takes all.
    """

    def __init__(
        self, store: Store, dataset: DatasetRecord, embeddings: EmbeddingsRecord, label: int | None = None
    ) -> None:
        self.store, self.embeddings, self.label = store, embeddings, label
        self.offsets = offsets(dataset)
        self.arrays: dict[str, NDArray[Any]] = store.get_arrays(dataset.splits)

    def __iter__(self) -> "Iterator[Shard]":
        """Yield vectors, ids and labels, shard by shard."""
        for split in SPLITS:
            for shard in self.embeddings.shards[split]:
                vectors = self.store.get_arrays(shard.vectors)["vectors"]
                places = shard.start + np.arange(len(vectors), dtype=np.int64)
                labels = self.arrays[f"{split}_labels"][places]
                chosen = slice(None) if self.label is None else labels == self.label
                yield vectors[chosen], self.offsets[split] + places[chosen], labels[chosen]


def offsets(dataset: DatasetRecord) -> dict[str, int]:
    """Number the images of all splits from 0, one split behind the other; return the first number of each."""
    ends = np.cumsum([0, *(dataset.counts[split] for split in SPLITS)])
    return dict(zip(SPLITS, ends.tolist(), strict=False))


def read_vectors(store: Store, embeddings: EmbeddingsRecord, split: str) -> NDArray[np.float32]:
    """Read the vectors of a split, shape (images, dimension)."""
    return np.concatenate([store.get_arrays(shard.vectors)["vectors"] for shard in embeddings.shards[split]])


def read_splits(
    store: Store, dataset: DatasetRecord, embeddings: EmbeddingsRecord, *splits: str
) -> list[LabelledVectors]:
    """Read the vectors of some splits with their labels."""
    arrays = store.get_arrays(dataset.splits)
    return [LabelledVectors(read_vectors(store, embeddings, split), arrays[f"{split}_labels"]) for split in splits]


def read_index(store: Store, index: IndexRecord, name: str = "all") -> "VectorIndex":
    """Read the index over all images, or that of a class."""
    from models import vector_index

    return vector_index.load(store.get(index.indices[name]))


def exact_neighbours(
    vectors: NDArray[np.floating],
    queries: NDArray[np.int64],
    among: Sequence[NDArray[np.int64]],
    count: int,
    similarity: Similarity = "cosine",
) -> "Neighbours":
    """Find the nearest items of each query without an index, never itself.

    Args:
        vectors: of queries and items, shape (vectors, dimension).
        queries: positions of the queries, shape (queries,).
        among: positions of the items that each query may find, one array per query.
        count: items per query.
        similarity: by which items are near.

    Returns:
        Similarities and positions, nearest first, each of shape (queries, count).
    """
    from models.vector_index import Neighbours, normalize

    prepared = normalize(vectors) if similarity == "cosine" else vectors
    similarities, ids = [], []
    for query, items in zip(queries, among, strict=True):
        others = items[items != query]
        if similarity == "cosine":
            near = prepared[others] @ prepared[query]
        else:
            near = -np.linalg.norm(prepared[others] - prepared[query], axis=1)
        order = np.argsort(-near, kind="stable")[:count]
        similarities.append(near[order])
        ids.append(others[order])
    return Neighbours(np.stack(similarities), np.stack(ids), similarity)
