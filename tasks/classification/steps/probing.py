"""Steps of a probe: its fit on the vectors of a frozen encoder, and its scores from the same vectors."""

import time

import numpy as np
from numpy.typing import NDArray

from models.choices import PROBE
from tasks.execution.caching import step
from tasks.records.base import RunReference
from tasks.records.classification import ClassifierRecord, PredictionsRecord, ProbeRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord, EncoderRecord
from tasks.storage.store import Store


@step
def fit_probe(
    dataset: DatasetRecord, embeddings: EmbeddingsRecord, encoder: EncoderRecord, run: RunReference
) -> ClassifierRecord:
    """Fit a linear head on the vectors of the training split, its regularisation chosen on validation."""
    from models.classifier import probe_fit
    from models.classifier.preprocessing import Normalization
    from models.encoders.loading import load_published
    from tasks.classification.classifier_file import probe_file
    from tasks.shared.published_encoders import published_class, source_of, token_for

    store = Store()
    # Refused here rather than when all is computed and maps are to be drawn.
    load_published(source_of(encoder), encoder.device, token_for(published_class(encoder.name))).require_patches()
    arrays = store.get_arrays(dataset.splits)
    images, labels = (
        np.delete(arrays[f"train_{kind}"], dataset.excluded_train, axis=0) for kind in ("images", "labels")
    )
    started = time.perf_counter()
    fitted = probe_fit.fit_probe(
        np.delete(_vectors(store, embeddings, "train"), dataset.excluded_train, axis=0),
        labels,
        _vectors(store, embeddings, "val"),
        arrays["val_labels"],
        len(dataset.labels),
    )
    content = probe_file(fitted.weights, fitted.c, Normalization.from_images(images), dataset, encoder)
    return ClassifierRecord(
        architecture=PROBE,
        weights=store.put(content, "application/x-safetensors"),
        best_epoch=0,
        dataset_sha256=dataset.sha256,
        seconds=time.perf_counter() - started,
        run_id=run.run_id,
        encoder=encoder,
        probe=ProbeRecord(strength=fitted.c, candidates=fitted.candidates),
    )


@step
def predict_probe(
    dataset: DatasetRecord, classifier: ClassifierRecord, embeddings: EmbeddingsRecord
) -> PredictionsRecord:
    """Compute the logits of validation and test from the vectors of the encoder, which are the embeddings."""
    import torch

    from tasks.classification.classifier_file import load_classifier

    store = Store()
    labels = store.get_arrays(dataset.splits)
    model = load_classifier(store.get(classifier.weights)).model
    vectors = _vectors(store, embeddings, "train")
    outputs = {"train_embeddings": np.delete(vectors, dataset.excluded_train, axis=0)}
    for split in ("val", "test"):
        vectors = _vectors(store, embeddings, split)
        with torch.inference_mode():
            outputs[f"{split}_logits"] = model.classify(torch.from_numpy(vectors)).numpy()
        outputs[f"{split}_embeddings"] = vectors
        outputs[f"{split}_labels"] = labels[f"{split}_labels"]
    return PredictionsRecord(
        outputs=store.put_arrays(outputs), classifier_sha256=classifier.weights.sha256, classifier=classifier.title
    )


def _vectors(store: Store, embeddings: EmbeddingsRecord, split: str) -> NDArray[np.float32]:
    return np.concatenate([store.get_arrays(shard.vectors)["vectors"] for shard in embeddings.shards[split]])
