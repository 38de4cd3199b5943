"""Steps around the registry: the file of a classifier, its graph, its card, and its comparison with the champion."""

from models.errors import InputError
from models.text import printable
from tasks.execution.caching import step
from tasks.records.base import DocumentRecord, FindingsRecord, StoredFile
from tasks.records.classification import (
    CalibrationRecord,
    ClassifierRecord,
    ComparisonRecord,
    EvaluationRecord,
    GraphRecord,
    PackageRecord,
    PredictionsRecord,
)
from tasks.records.data import DatasetRecord
from tasks.shared.published_encoders import frozen_encoder
from tasks.storage.store import Store


def read_package(package: StoredFile, dataset: DatasetRecord, run_id: str) -> ClassifierRecord:
    """Take a classifier out of the file that `package_classifier` made.

    Raises:
        InputError: it was made for images of another dataset or size.
    """
    from models.classifier import weights

    _, card = weights.load(Store().get(package))
    if (card["dataset"], card["image_size"]) != (dataset.name, dataset.size):
        raise InputError(
            f"The classifier of the run {run_id} reads {printable(card['dataset'], 40)} at {card['image_size']} "
            f"pixels, but the form names {dataset.name} at {dataset.size}; choose the same."
        )
    return ClassifierRecord(
        architecture=card["architecture"],
        weights=package,
        best_epoch=card["best_epoch"],
        dataset_sha256=card["dataset_sha256"],
        run_id=run_id,
        encoder=frozen_encoder(card),
    )


def validation_log_loss(predictions: PredictionsRecord, calibration: CalibrationRecord) -> float:
    """Compute the criterion by which a champion is chosen: the class-balanced log-loss on validation, in nats."""
    from tasks.classification.sweep.leaderboard import balanced_log_loss

    outputs = Store().get_arrays(predictions.outputs)
    return balanced_log_loss(outputs["val_logits"], outputs["val_labels"], calibration.temperature)


@step
def package_classifier(
    dataset: DatasetRecord, classifier: ClassifierRecord, calibration: CalibrationRecord, evaluation: EvaluationRecord
) -> PackageRecord:
    """Put the weights and all that their user must know into one file."""
    from models.classifier import weights
    from tasks.classification.classifier_file import registered_card

    store = Store()
    model, card = weights.load(store.get(classifier.weights))
    card |= registered_card(dataset, classifier.weights.sha256, calibration, evaluation)
    return PackageRecord(package=store.put(weights.dump(model, card), "application/x-safetensors"))


@step
def export_graph(dataset: DatasetRecord, packaged: PackageRecord, evaluation: EvaluationRecord) -> GraphRecord:
    """Export a classifier to ONNX, and keep the graph if it decides as the classifier does."""
    from models.classifier import weights
    from models.classifier.onnx_graph import export_onnx, onnx_probabilities
    from models.classifier.preprocessing import Normalization
    from models.classifier.serving import ServedClassifier
    from tasks.classification.graph_check import COMPARED, compare_probabilities

    store = Store()
    model, card = weights.load(store.get(packaged.package))
    if model.frozen is not None:
        reason = "A probe has none: the weights of its encoder stay where their licence has them."
        return GraphRecord(graph=None, reason=reason, metrics={})
    graph = export_onnx(ServedClassifier(model, Normalization(**card["normalization"]), card["temperature"]), card)
    images = store.get_arrays(dataset.splits)["test_images"][:COMPARED]
    reported = store.get_arrays(evaluation.predictions)["probabilities"][:COMPARED]
    metrics, problem = compare_probabilities(onnx_probabilities(graph, images), reported, card["threshold"])
    kept = None if problem else store.put(graph, "application/onnx")
    return GraphRecord(graph=kept, reason=problem, metrics=metrics)


@step
def write_model_card(
    name: str,
    dataset: DatasetRecord,
    packaged: PackageRecord,
    calibration: CalibrationRecord,
    evaluation: EvaluationRecord,
    findings: list[FindingsRecord],
    graph: GraphRecord | None,
) -> DocumentRecord:
    """Write the model card of a classifier."""
    from models.classifier import weights
    from tasks.classification.model_card import model_card
    from tasks.classification.training_labels import corrected_rows

    store = Store()
    _, card = weights.load(store.get(packaged.package))
    metrics = evaluation.metrics | {"calibration/temperature": calibration.temperature}
    if calibration.threshold is not None:
        metrics["threshold"] = calibration.threshold
    for found in findings:
        metrics |= found.metrics
    if graph is not None:
        metrics |= graph.metrics
    text = model_card(name, dataset, card, metrics, graph, corrected_rows(dataset, store))
    return DocumentRecord(document=store.put(text.encode(), "text/markdown"))


@step
def compare_with_champion(
    dataset: DatasetRecord,
    predictions: PredictionsRecord,
    calibration: CalibrationRecord,
    champion: StoredFile,
    bootstrap_samples: int,
) -> ComparisonRecord:
    """Compare a classifier with the champion on validation, each with its own temperature."""
    from models.classifier.prediction import predict
    from tasks.classification.classifier_file import load_classifier
    from tasks.classification.promotion import compare
    from tasks.classification.trust.calibration import calibrated_probabilities

    store = Store()
    outputs = store.get_arrays(predictions.outputs)
    model, normalization, card = load_classifier(store.get(champion))
    logits = predict(model, store.get_arrays(dataset.splits)["val_images"], normalization).logits
    return compare(
        calibrated_probabilities(outputs["val_logits"], calibration.temperature),
        calibrated_probabilities(logits, card["temperature"]),
        outputs["val_labels"],
        bootstrap_samples,
    )
