"""Steps that calibrate the classifier on validation and score it on test."""

from tasks.execution.caching import step
from tasks.records.classification import CalibrationRecord, EvaluationRecord, PredictionsRecord
from tasks.storage.store import Store


@step
def calibrate_classifier(predictions: PredictionsRecord, threshold_rule: str) -> CalibrationRecord:
    """Fit the temperature and, for two classes, set the operating point, both without the test split."""
    from tasks.classification.trust.calibration import calibrated_probabilities, candidate_thresholds, fit_temperature

    outputs = Store().get_arrays(predictions.outputs)
    logits, labels = outputs["val_logits"], outputs["val_labels"]
    temperature = fit_temperature(logits, labels)
    if logits.ndim == 2:
        return CalibrationRecord(temperature=temperature, threshold=None, rule=None, candidates={})
    candidates = candidate_thresholds(calibrated_probabilities(logits, temperature), labels, threshold_rule)
    return CalibrationRecord(
        temperature=temperature, threshold=candidates[threshold_rule], rule=threshold_rule, candidates=candidates
    )


@step
def evaluate_classifier(
    predictions: PredictionsRecord, calibration: CalibrationRecord, bootstrap_samples: int, graded: bool = False
) -> EvaluationRecord:
    """Score the test split, once, at the operating point; of classes that are grades with the quadratic kappa."""
    from tasks.classification.evaluation import evaluate
    from tasks.classification.trust.calibration import calibrated_probabilities
    from tasks.classification.trust.failure_analysis import confidences

    store = Store()
    outputs = store.get_arrays(predictions.outputs)
    splits = {}
    for split in ("test", "val"):
        probabilities = calibrated_probabilities(outputs[f"{split}_logits"], calibration.temperature)
        splits[split] = probabilities, outputs[f"{split}_labels"]
    found = evaluate(splits, calibration.rule, calibration.candidates, bootstrap_samples, graded)
    test, labels = splits["test"]
    confidence = confidences(test, calibration.threshold)
    arrays = {"probabilities": test, "predicted": found.predicted, "labels": labels, "confidence": confidence}
    return EvaluationRecord(
        metrics=found.metrics,
        validation=found.validation,
        operating_points=found.operating_points,
        confusion=tuple(map(tuple, found.confusion.tolist())),
        predictions=store.put_arrays(arrays),
        classifier_sha256=predictions.classifier_sha256,
        classifier=predictions.classifier,
        threshold=calibration.threshold,
    )
