"""Steps that turn images into vectors.

PyTorch, FAISS, SciPy and Matplotlib take seconds to import, so each step of the retrieval imports what it needs when it
runs: a run of hits needs none of them.
"""

import numpy as np

from tasks.execution.caching import step
from tasks.execution.mapping import map_step
from tasks.records.classification import ClassifierRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord, ShardRecord
from tasks.retrieval.settings import SPLITS
from tasks.storage.store import Store

SHARD = 8192  # images embedded at once: 16 MiB of 512-d vectors


def classifier_encoder(classifier: ClassifierRecord) -> EncoderRecord:
    """Describe the classifier without its head as an encoder."""
    from tasks.retrieval import encoders

    return encoders.of_classifier(classifier)


@step
def fit_metric_encoder(dataset: DatasetRecord, classifier: ClassifierRecord) -> EncoderRecord:
    """Fit what the encoder `metric` adds to the classifier's embedding, on the training split."""
    from models.encoders.metric import MetricEncoder, fit_projection

    store = Store()
    images = np.delete(store.get_arrays(dataset.splits)["train_images"], dataset.excluded_train, axis=0)
    payload = fit_projection(images)
    encoder = MetricEncoder(store.get(classifier.weights), payload)
    return EncoderRecord(
        name="metric",
        identity=encoder.identity,
        weights=(classifier.weights, store.put(payload, "application/x-safetensors")),
        licence=encoder.licence,
    )


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
