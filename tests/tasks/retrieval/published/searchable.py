"""An index to publish."""

import numpy as np

from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord, IndexRecord, SearchableRecord, ShardRecord
from tasks.storage.store import Store

COUNTS = {"train": 8, "val": 60, "test": 8}


def searchable(run="first", *, sharpness=2.0, seed=0, images=0, counts=COUNTS, dimension=8, name="classifier", **data):
    """An index over drawn vectors: of a dataset, whose images follow a seed, and of how good an encoder."""
    store, rng = Store(), np.random.default_rng(images)
    arrays = {}
    for split, count in COUNTS.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 4, 4), dtype=np.uint8)[: counts[split]]
        arrays[f"{split}_labels"] = (np.arange(count) % 2)[: counts[split]]
    rng, shards = np.random.default_rng(seed), {}
    for split, count in counts.items():
        vectors = rng.normal(size=(count, dimension)) + sharpness * np.eye(dimension)[arrays[f"{split}_labels"]]
        stored = store.put_arrays({"vectors": vectors.astype(np.float32)})
        shards[split] = (ShardRecord(split=split, start=0, vectors=stored, shape=vectors.shape, identity=f"e {seed}"),)
    file = store.put(f"{seed} {sharpness}".encode(), "application/octet-stream")
    fields = {"kind": "official", "phantoms": False, "limit": None, "md5": "28209eda62fecd6e6a2d98b1501bb15f"} | data
    dataset = DatasetRecord(
        name="pneumoniamnist", size=4, channels=1, labels=("normal", "pneumonia"), licence="", sha256=f"{images}",
        splits=store.put_arrays(arrays), audit=file, audit_table=file, counts=counts, excluded_train=(), **fields,
    )  # fmt: skip
    return SearchableRecord(
        dataset=dataset,
        encoder=EncoderRecord(name=name, identity=f"e {seed}", licence="", weights=(file,)),
        embeddings=EmbeddingsRecord(name=name, identity=f"e {seed}", dimension=dimension, shards=shards),
        index=IndexRecord(
            identity=f"e {seed}",
            dimension=dimension,
            kinds={"all": "flat"},
            indices={"all": file},
            offsets={"train": 0, "val": counts["train"], "test": counts["train"] + counts["val"]},
        ),
        run_id=run,
    )
