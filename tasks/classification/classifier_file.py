"""The file of a classifier: its weights, and a card of what their user must know."""

from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from models.choices import PROBE
from models.classifier import weights
from models.classifier.classifiers import Classifier, build_classifier
from models.classifier.networks.probe import FrozenFeatures
from models.classifier.preprocessing import Normalization
from models.classifier.training_state import Weights
from models.notices import RESEARCH_NOTICE
from tasks.parameters.training import TrainingParameters
from tasks.records.classification import CalibrationRecord, EvaluationRecord, PretrainedRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EncoderRecord
from tasks.shared.published_encoders import source_of


class LoadedClassifier(NamedTuple):
    """A classifier that is ready to predict.

    Attributes:
        model: in evaluation mode, on the CPU.
        normalization: statistics of its training pixels.
        card: all that its file says beside the weights.
    """

    model: Classifier
    normalization: Normalization
    card: dict[str, Any]


def load_classifier(payload: bytes) -> LoadedClassifier:
    """Build a classifier from its file.

    Args:
        payload: safetensors of `models.classifier.weights.dump`.

    Returns:
        The classifier.

    Raises:
        InputError: the bytes are damaged, or are no classifier.
    """
    model, card = weights.load(payload)
    return LoadedClassifier(model, Normalization(**card["normalization"]), card)


def trained_file(
    state: Weights,
    normalization: Normalization,
    dataset: DatasetRecord,
    training: TrainingParameters,
    pretrained: PretrainedRecord | None,
    best_epoch: int,
) -> bytes:
    """Write a trained classifier down with how it was trained and what it needs to predict.

    Args:
        state: its weights.
        normalization: statistics of the training pixels.
        dataset: what it was trained on.
        training: the form.
        pretrained: the weights that it started from; None for random ones.
        best_epoch: epoch of the weights, from 1.

    Returns:
        Safetensors bytes for `load_classifier`.
    """
    model = build_classifier(training.architecture, classes=len(dataset.labels), channels=dataset.channels)
    model.load_state_dict(state)
    card = {
        "training": training.model_dump(mode="json"),
        "pretrained_sha256": None if pretrained is None else pretrained.sha256,
        "best_epoch": best_epoch,
    }
    return weights.dump(model, _card(model, normalization, dataset) | card)


def probe_file(
    head: Weights, strength: float, normalization: Normalization, dataset: DatasetRecord, encoder: EncoderRecord
) -> bytes:
    """Write a probe down: its head, and which encoder it stands on; that is not in the file.

    Args:
        head: state of the head.
        strength: the inverse strength of the regularisation, C.
        normalization: statistics of the training pixels.
        dataset: what it was fitted on.
        encoder: the frozen encoder.

    Returns:
        Safetensors bytes for `load_classifier`.
    """
    dimension = head["head.weight"].shape[1]
    frozen = FrozenFeatures(source_of(encoder), dimension, normalization)
    model = build_classifier(PROBE, classes=len(dataset.labels), channels=dataset.channels, frozen=frozen)
    model.load_state_dict(head)
    named = encoder.model_dump(include={"name", "model", "revision", "licence", "random_weights"})
    card = {weights.ENCODER: named | {"dimension": dimension}, "strength": strength, "best_epoch": 0}
    return weights.dump(model, _card(model, normalization, dataset) | card)


def _card(model: Classifier, normalization: Normalization, dataset: DatasetRecord) -> dict[str, Any]:
    return {
        "architecture": model.architecture,
        "classes": model.classes,
        "channels": model.channels,
        "normalization": asdict(normalization),
        "image_size": dataset.size,
        "labels": list(dataset.labels),
        "dataset_sha256": dataset.sha256,
        "dataset_limit": dataset.limit,
    }


def registered_card(
    dataset: DatasetRecord, weights_sha256: str, calibration: CalibrationRecord, evaluation: EvaluationRecord
) -> dict[str, Any]:
    """Say what the user of a registered classifier must know beyond its training.

    Args:
        dataset: what it was trained on.
        weights_sha256: digest of the file as it was trained.
        calibration: temperature and operating point.
        evaluation: its scores.

    Returns:
        JSON values, to be added to the card of `trained_file`.
    """
    return {
        "dataset": dataset.name,
        "licence": dataset.licence,
        "weights_sha256": weights_sha256,
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "threshold_rule": calibration.rule,
        "validation": {name: value for name, value in evaluation.validation.items() if np.isfinite(value)},
        "intended_use": f"{' or '.join(dataset.labels)}, told from {dataset.size}×{dataset.size} images like those of "
        f"{dataset.name}. {RESEARCH_NOTICE}",
        "source_sha256": dataset.source_sha256,
        "corrected_labels": dataset.corrected,
        "phantoms": dataset.phantoms,
        "limited": dataset.limit is not None,
    }
