"""A small index over drawn images, built as a run builds it, by an encoder that can be loaded."""

import numpy as np

from models.classifier.classifiers import build_classifier
from models.classifier.weights import dump
from tasks.data.validation import SPLITS
from tasks.records.classification import ClassifierRecord
from tasks.records.data import DatasetRecord, PictureRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord, SearchableRecord, ShardRecord
from tasks.retrieval import encoders
from tasks.retrieval.steps.indexing import index_embeddings
from tasks.shared.model_size import to_model_size
from tasks.storage.store import Store
from tests.tasks.data.folders import few_phantoms

COUNTS = {"train": 12, "val": 8, "test": 8}


def small_index(run: str = "first", *, seed: int = 4, size: int = 28, kind: str = "flat", **data) -> SearchableRecord:
    """Of a seed: the weights, which are random."""
    store, splits = Store(), few_phantoms(COUNTS)
    arrays = {f"{split}_labels": splits.labels(split) for split in SPLITS}
    for split in SPLITS:
        arrays[f"{split}_images"] = np.stack([to_model_size(image, size) for image in splits.images(split)])
    file = store.put(b"{}", "application/json")
    fields = {"kind": "official", "phantoms": False, "limit": None} | data
    dataset = DatasetRecord(
        name="pneumoniamnist", size=size, channels=1, labels=("normal", "pneumonia"), licence="", md5="0" * 32,
        sha256=str(size), splits=store.put_arrays(arrays), audit=file, audit_table=file, counts=COUNTS,
        excluded_train=(), **fields,
    )  # fmt: skip
    encoder = small_encoder(seed, size)
    loaded, shards = encoders.load(encoder), {}
    for split in SPLITS:
        vectors = loaded.encode_images(arrays[f"{split}_images"])
        shards[split] = (
            ShardRecord(
                split=split, start=0, vectors=store.put_arrays({"vectors": vectors}), shape=vectors.shape,
                identity=encoder.identity,
            ),
        )  # fmt: skip
    embeddings = EmbeddingsRecord(
        name="classifier", identity=encoder.identity, dimension=vectors.shape[1], shards=shards
    )
    index = index_embeddings.fn(dataset, embeddings, kind)
    return SearchableRecord(dataset=dataset, encoder=encoder, embeddings=embeddings, index=index, run_id=run)


def small_encoder(seed: int, size: int = 28) -> EncoderRecord:
    """The smallest classifier, untrained."""
    card = {"architecture": "compact28", "classes": 2, "channels": 1, "image_size": size}
    card |= {"normalization": {"mean": [0.57], "std": [0.17]}}
    payload = dump(build_classifier("compact28", seed=seed).eval(), card)
    weights = Store().put(payload, "application/x-safetensors")
    record = ClassifierRecord(architecture="compact28", weights=weights, best_epoch=1, dataset_sha256="0" * 64)
    return encoders.describe("classifier", record)


def picture(seed: int, name: str = "scan.png", shape: tuple[int, int] = (60, 50)) -> PictureRecord:
    """A picture as a search reads it."""
    original = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    arrays = {"original": original, "image": to_model_size(original, 28)}
    return PictureRecord(name=name, arrays=Store().put_arrays(arrays))
