"""Steps of a classification whose images have several labels each, or none."""

import numpy as np

from tasks.execution.caching import step
from tasks.parameters.training import TrainingParameters
from tasks.records.base import DocumentRecord, FiguresRecord
from tasks.records.classification import CalibrationRecord, ClassifierRecord, EvaluationRecord, PredictionsRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store


@step
def calibrate_labels(predictions: PredictionsRecord) -> CalibrationRecord:
    """Fit one temperature to all labels of validation."""
    from tasks.classification.trust.calibration import fit_temperature

    outputs = Store().get_arrays(predictions.outputs)
    temperature = fit_temperature(outputs["val_logits"].ravel(), outputs["val_labels"].ravel())
    return CalibrationRecord(temperature=temperature, threshold=None, rule=None, candidates={})


@step
def evaluate_labels(
    dataset: DatasetRecord, predictions: PredictionsRecord, calibration: CalibrationRecord, bootstrap_samples: int
) -> EvaluationRecord:
    """Score every label of the test split, once."""
    from scipy.special import expit

    from tasks.classification.label_scores import THRESHOLD, score_labels

    store = Store()
    outputs = store.get_arrays(predictions.outputs)
    scores, probabilities = {}, {}
    for split in ("test", "val"):
        probabilities[split] = expit(outputs[f"{split}_logits"].astype(np.float64) / calibration.temperature)
        scores[split] = score_labels(
            probabilities[split], outputs[f"{split}_labels"], dataset.labels, samples=bootstrap_samples
        )
    test = probabilities["test"]
    arrays = {
        "probabilities": test,
        "predicted": (test >= THRESHOLD).astype(np.int64),
        "labels": outputs["test_labels"],
        "confidence": np.maximum(test, 1 - test),
    }
    return EvaluationRecord(
        metrics={f"{split}/{name}": value for split, found in scores.items() for name, value in found.items()},
        validation=scores["val"],
        operating_points=(),
        confusion=(),
        predictions=store.put_arrays(arrays),
        classifier_sha256=predictions.classifier_sha256,
        classifier=predictions.classifier,
        threshold=None,
    )


@step
def plot_labels(dataset: DatasetRecord, classifier: ClassifierRecord, evaluation: EvaluationRecord) -> FiguresRecord:
    """Draw the training and the AUC of each label."""
    from tasks.classification.figures import training_curves
    from tasks.classification.label_scores import PICTURE, label_bars
    from tasks.shared.figures import Source

    source = Source.of(dataset, classifier.title)
    drawn = {
        "training_curves": training_curves(classifier.history, classifier.best_epoch, source=source),
        PICTURE: label_bars(evaluation.metrics, dataset.labels, source=source),
    }
    return FiguresRecord(figures=Store().put_pictures(drawn))


@step
def document_labels(
    dataset: DatasetRecord,
    classifier: ClassifierRecord,
    calibration: CalibrationRecord,
    evaluation: EvaluationRecord,
    training: TrainingParameters,
    left_out: str,
) -> DocumentRecord:
    """Write the stage's report."""
    from tasks.classification.label_scores import THRESHOLD, label_report
    from tasks.classification.summary import protocol

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    decided = dict(protocol(dataset, training, classifier, calibration))
    decided["operating point"] = f"{THRESHOLD:g} for each label, fixed beforehand"
    if training.loss == "balanced_bce":
        decided["temperature"] += (
            "; it cannot undo that the loss counts a label like its absence, so that probabilities are as if half of "
            "the images had it, which the calibration error shows"
        )
    report = label_report(
        label_names=dataset.labels,
        protocol=list(decided.items()),
        counts={split: arrays[f"{split}_labels"].sum(axis=0) for split in dataset.counts},
        images=dataset.counts,
        evaluation=evaluation,
        left_out=left_out,
        audit=store.get(dataset.audit_table).decode(),
        phantoms=dataset.phantoms,
    )
    return DocumentRecord(document=store.put(report.encode(), "text/markdown"))
