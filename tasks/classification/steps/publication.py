"""Steps that draw the figures of the stage and write its report."""

from tasks.execution.caching import step
from tasks.parameters.training import TrainingParameters
from tasks.records.base import ArrayRecord, DocumentRecord, FiguresRecord, FindingsRecord
from tasks.records.classification import CalibrationRecord, ClassifierRecord, EvaluationRecord, PredictionsRecord
from tasks.records.data import DatasetRecord
from tasks.storage.store import Store


@step
def plot_classification(
    dataset: DatasetRecord,
    classifier: ClassifierRecord,
    predictions: PredictionsRecord,
    calibration: CalibrationRecord,
    explanation: ArrayRecord,
    failures: int,
) -> FiguresRecord:
    """Draw the figures of the stage."""
    from tasks.classification.figures import draw_figures
    from tasks.classification.predictions import Predictions
    from tasks.classification.trust.calibration import calibrated_probabilities
    from tasks.shared.figures import Source

    store = Store()
    outputs = store.get_arrays(predictions.outputs)
    logits, temperatures = outputs["test_logits"], (1.0, calibration.temperature)
    before, after = (calibrated_probabilities(logits, temperature) for temperature in temperatures)
    drawn = draw_figures(
        classifier.history,
        classifier.best_epoch,
        store.get_arrays(dataset.splits)["test_images"],
        before,
        Predictions(after, outputs["test_labels"], calibration.threshold, dataset.labels),
        store.get_arrays(explanation.arrays),
        failures=failures,
        source=Source.of(dataset, classifier.title),
        probe=classifier.probe,
    )
    return FiguresRecord(figures=store.put_pictures(drawn))


@step
def document_classification(
    dataset: DatasetRecord,
    classifier: ClassifierRecord,
    calibration: CalibrationRecord,
    evaluation: EvaluationRecord,
    training: TrainingParameters,
    findings: list[FindingsRecord],
) -> DocumentRecord:
    """Write the stage's report."""
    from tasks.classification.summary import classification_report, protocol, split_counts
    from tasks.classification.training_labels import corrected_rows

    store = Store()
    sections = [section for found in findings for section in found.sections]
    report = classification_report(
        class_names=dataset.labels,
        protocol=[*protocol(dataset, training, classifier, calibration), *corrected_rows(dataset, store)],
        splits=split_counts(store.get_arrays(dataset.splits), dataset.excluded_train, len(dataset.labels)),
        evaluation=evaluation,
        sections=[*sections, ("Data audit", store.get(dataset.audit_table).decode())],
        phantoms=dataset.phantoms,
    )
    return DocumentRecord(document=store.put(report.encode(), "text/markdown"))
