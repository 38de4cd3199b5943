"""Steps that index vectors and look into the index."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.execution.caching import step
from tasks.records.base import ArrayRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, IndexRecord
from tasks.retrieval.vectors import Shards, offsets, read_index, read_vectors
from tasks.storage.store import Store


@step
def index_embeddings(dataset: DatasetRecord, embeddings: EmbeddingsRecord, kind: str) -> IndexRecord:
    """Build the index over all images and that of each class, and measure how much the first one finds."""
    from models import vector_index

    store = Store()
    shards = {name: Shards(store, dataset, embeddings, label) for label, name in enumerate(dataset.labels)}
    shards = {"all": Shards(store, dataset, embeddings)} | shards
    indices, seconds = {}, {}
    for name, part in shards.items():
        started = time.perf_counter()
        indices[name] = vector_index.build(
            part,
            encoder=embeddings.identity,
            kind=kind,  # type: ignore[arg-type]
            metric=embeddings.similarity,
        )
        seconds[name] = time.perf_counter() - started
    payloads = {name: vector_index.dump(index) for name, index in indices.items()}
    return IndexRecord(
        identity=embeddings.identity,
        dimension=embeddings.dimension,
        kinds={name: index.kind for name, index in indices.items()},
        indices={name: store.put(payload, "application/octet-stream") for name, payload in payloads.items()},
        offsets=offsets(dataset),
        metrics={
            "index/recall_at_10": vector_index.recall_at(indices["all"], shards["all"], k=10),
            "index/seconds": seconds["all"],
            "index/mebibytes": len(payloads["all"]) / 2**20,
        },
    )


@step
def search_neighbours(
    dataset: DatasetRecord, embeddings: EmbeddingsRecord, index: IndexRecord, count: int
) -> ArrayRecord:
    """Find the nearest test and train images of each test image, without itself.

    What is near by another measure has its cosine, too: that is what reports and errors are judged by.
    """
    store = Store()
    queries = read_vectors(store, embeddings, "test")
    arrays: dict[str, NDArray[Any]] = {}
    whole = read_index(store, index)
    own = index.offsets["test"] + np.arange(len(queries), dtype=np.int64)
    for split in ("train", "test"):
        members = index.offsets[split] + np.arange(dataset.counts[split], dtype=np.int64)
        available = len(members) - (split == "test")
        found = whole.search(queries, min(count, available), encoder=embeddings.identity, exclude=own, allowed=members)
        cosines = whole.cosines(queries, found.ids) if found.metric == "l2" else found.similarities
        arrays |= {f"{split}_ids": found.ids - index.offsets[split], f"{split}_similarities": cosines}
        if found.metric == "l2":
            arrays[f"{split}_distances"] = -found.similarities
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})
