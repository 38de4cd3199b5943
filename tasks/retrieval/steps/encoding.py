"""Steps that turn images into vectors.

PyTorch, FAISS, SciPy and Matplotlib take seconds to import, so each step of the retrieval imports what it needs when it
runs: a run of hits needs none of them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.own_encoders.table import encoder_class
from tasks.execution.caching import step
from tasks.execution.mapping import map_step
from tasks.records.base import ArrayRecord
from tasks.records.classification import ClassifierRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord, ShardRecord
from tasks.retrieval.settings import SPLITS
from tasks.retrieval.vectors import read_vectors
from tasks.storage.store import Store

SHARD = 8192  # images embedded at once: 16 MiB of 512-d vectors


def own_encoder(dataset: DatasetRecord, classifier: ClassifierRecord, name: str) -> EncoderRecord:
    """Describe an encoder that is made here, once it has learnt what it learns from the training split."""
    from tasks.retrieval import encoders

    if encoder_class(name).needs_fitting:
        return fit_encoder.with_options(name=f"fit-{name}-encoder")(dataset, classifier, name)
    return encoders.describe(name, classifier)


@step
def fit_encoder(dataset: DatasetRecord, classifier: ClassifierRecord, name: str) -> EncoderRecord:
    """Let an encoder learn from the training split."""
    from tasks.retrieval import encoders

    store = Store()
    images = np.delete(store.get_arrays(dataset.splits)["train_images"], dataset.excluded_train, axis=0)
    return encoders.describe(name, classifier, store.put(encoder_class(name).fit(images), "application/x-safetensors"))


@step
def embed_shard(dataset: DatasetRecord, encoder: EncoderRecord, split: str, start: int, stop: int) -> ShardRecord:
    """Embed some images of one split."""
    from tasks.retrieval import encoders

    store = Store()
    images = store.get_arrays(dataset.splits)[f"{split}_images"][start:stop]
    vectors = encoders.load(encoder).encode_images(images)
    return ShardRecord(
        split=split,
        start=start,
        vectors=store.put_arrays({"vectors": vectors}),
        shape=vectors.shape,
        identity=encoder.identity,
    )


@step
def export_embeddings(dataset: DatasetRecord, embeddings: EmbeddingsRecord, split: str) -> ArrayRecord:
    """Put the vectors of a split beside what they are of, in one file that needs none of this program."""
    from tasks.retrieval.search_result import pixel_digest

    store = Store()
    splits = store.get_arrays(dataset.splits)
    arrays: dict[str, NDArray[Any]] = {
        "vectors": read_vectors(store, embeddings, split),
        "labels": splits[f"{split}_labels"],
        "indices": np.arange(dataset.counts[split], dtype=np.int64),
        "digests": np.array([pixel_digest(image) for image in splits[f"{split}_images"]]),
    }
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})


def embed_all(dataset: DatasetRecord, encoder: EncoderRecord, classifier: ClassifierRecord) -> EmbeddingsRecord:
    """Embed all images; the features of a probe are the vectors of its encoder, which may be there already."""
    if not encoder_class(encoder.name).is_classifier or classifier.encoder is None:
        return embed_images(dataset, encoder)
    found, named = embed_images(dataset, classifier.encoder), {"identity": encoder.identity}
    shards = {split: tuple(shard.model_copy(update=named) for shard in parts) for split, parts in found.shards.items()}
    return found.model_copy(update={"name": encoder.name, "shards": shards} | named)


def embed_images(dataset: DatasetRecord, encoder: EncoderRecord, size: int = SHARD) -> EmbeddingsRecord:
    """Embed all images, in shards of some size, by the task runner of the flow."""
    calls = [
        {"dataset": dataset, "encoder": encoder, "split": split, "start": start, "stop": min(start + size, count)}
        for split, count in ((split, dataset.counts[split]) for split in SPLITS)
        for start in range(0, count, size)
    ]
    embedded = map_step(embed_shard, calls)
    shards = {split: tuple(shard for shard in embedded if shard.split == split) for split in SPLITS}
    return EmbeddingsRecord(
        name=encoder.name, identity=encoder.identity, dimension=shards["test"][0].shape[1], shards=shards
    )
