"""Steps of the classification: train, predict, calibrate, evaluate, explain, plot, document.

PyTorch, scikit-learn and Matplotlib take seconds to import, so each step imports what it needs when it runs: a run of
hits needs none of them.
"""

from dataclasses import asdict

import numpy as np
from prefect.logging import get_run_logger
from tqdm import tqdm

from tasks.caching import current_key, step
from tasks.parameters import TrainingParameters
from tasks.records import (
    ArrayRecord,
    CalibrationRecord,
    ClassifierRecord,
    DatasetRecord,
    DocumentRecord,
    EpochRecord,
    EvaluationRecord,
    FiguresRecord,
    PredictionsRecord,
    RunReference,
)
from tasks.store import Store, StoredCheckpoints
from tasks.tracking import log_epochs

BOOTSTRAP_SEED = 0
RULES = {
    "fixed": "fixed at .5 beforehand",
    "balanced_likelihood": "balanced recalibration of validation crosses one half",
    "balanced_accuracy": "best balanced accuracy on validation",
}


@step
def train_classifier(dataset: DatasetRecord, training: TrainingParameters, run: RunReference) -> ClassifierRecord:
    """Train, going on from the last checkpoint of the same job, and keep the weights of the best epoch."""
    from models import weights
    from models.classifiers import build_classifier
    from models.preprocessing import Normalization
    from models.training import EpochMetrics, TrainingSettings, train

    store, logger = Store(), get_run_logger()
    arrays = store.get_arrays(dataset.splits)
    train_images = np.delete(arrays["train_images"], dataset.excluded_train, axis=0)
    train_labels = np.delete(arrays["train_labels"], dataset.excluded_train)
    normalization = Normalization.from_images(train_images)
    settings = TrainingSettings(**training.model_dump())
    checkpoints = StoredCheckpoints(store, current_key())
    with tqdm(total=settings.epochs, desc="training", unit="epoch", disable=None, leave=False) as bar:

        def on_epoch(epoch: EpochMetrics) -> None:
            bar.update(epoch.epoch - bar.n)
            bar.set_postfix(val_auc=f"{epoch.val_auc:.4f}", val_loss=f"{epoch.val_loss:.3f}")
            log_epochs(run, [EpochRecord(**asdict(epoch))])
            with tqdm.external_write_mode():  # the line goes above the bar
                logger.info(
                    "epoch %d of %d: validation AUC %.4f, loss %.4f, %.1f s",
                    epoch.epoch, settings.epochs, epoch.val_auc, epoch.val_loss, epoch.seconds,
                )  # fmt: skip

        result = train(
            train_images,
            train_labels,
            arrays["val_images"],
            arrays["val_labels"],
            normalization,
            settings,
            checkpoints=checkpoints,
            on_epoch=on_epoch,
        )
    card = {
        "architecture": training.architecture,
        "normalization": asdict(normalization),
        "image_size": dataset.size,
        "labels": list(dataset.labels),
        "dataset_sha256": dataset.sha256,
        "training": training.model_dump(mode="json"),
        "best_epoch": result.best_epoch,
    }
    model = build_classifier(training.architecture)
    model.load_state_dict(result.weights)
    stored = store.put(weights.dump(model, card), "application/x-safetensors")
    checkpoints.clear()
    return ClassifierRecord(
        architecture=training.architecture,
        weights=stored,
        best_epoch=result.best_epoch,
        dataset_sha256=dataset.sha256,
        history=tuple(EpochRecord(**asdict(epoch)) for epoch in result.history),
        seconds=sum(epoch.seconds for epoch in result.history),
        run_id=run.run_id,
    )


@step
def predict_classifier(dataset: DatasetRecord, classifier: ClassifierRecord) -> PredictionsRecord:
    """Compute the logits of validation and test."""
    from models import weights
    from models.prediction import predict
    from models.preprocessing import Normalization

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    model, card = weights.load(store.get(classifier.weights))
    normalization = Normalization(**card["normalization"])
    outputs = {}
    for split in ("val", "test"):
        outputs[f"{split}_logits"] = predict(model, arrays[f"{split}_images"], normalization).logits
        outputs[f"{split}_labels"] = arrays[f"{split}_labels"]
    return PredictionsRecord(outputs=store.put_arrays(outputs), classifier_sha256=classifier.weights.sha256)


@step
def calibrate_classifier(predictions: PredictionsRecord, threshold_rule: str) -> CalibrationRecord:
    """Fit the temperature and set the operating point, both without the test split."""
    from tasks.classification.calibration import calibrated_probabilities, choose_threshold, fit_temperature

    outputs = Store().get_arrays(predictions.outputs)
    labels = outputs["val_labels"]
    temperature = fit_temperature(outputs["val_logits"], labels)
    probabilities = calibrated_probabilities(outputs["val_logits"], temperature)
    candidates = {rule: choose_threshold(probabilities, labels, rule) for rule in RULES}  # type: ignore[arg-type]
    return CalibrationRecord(
        temperature=temperature, threshold=candidates[threshold_rule], rule=threshold_rule, candidates=candidates
    )


@step
def evaluate_classifier(
    predictions: PredictionsRecord, calibration: CalibrationRecord, bootstrap_samples: int
) -> EvaluationRecord:
    """Score the test split, once, at the operating point."""
    from tasks.classification.calibration import best_accuracy_threshold, calibrated_probabilities
    from tasks.classification.metrics import score, score_with_intervals

    store = Store()
    outputs = store.get_arrays(predictions.outputs)
    validation, test = (
        calibrated_probabilities(outputs[f"{split}_logits"], calibration.temperature) for split in ("val", "test")
    )
    labels = outputs["test_labels"]
    threshold = calibration.threshold
    val_scores = score_with_intervals(
        validation, outputs["val_labels"], threshold, samples=bootstrap_samples, seed=BOOTSTRAP_SEED
    )
    scores = score_with_intervals(test, labels, threshold, samples=bootstrap_samples, seed=BOOTSTRAP_SEED)
    metrics = {f"test/{name}": value for name, value in scores.items()}
    metrics |= {f"val/{name}": value for name, value in val_scores.items()}
    rules = [calibration.rule, *(rule for rule in calibration.candidates if rule != calibration.rule)]
    points = [(RULES[rule], calibration.candidates[rule], True) for rule in rules]
    points.append(("oracle, best accuracy", best_accuracy_threshold(test, labels), False))
    predicted = (test >= threshold).astype(np.int64)
    counts = np.bincount(2 * labels + predicted, minlength=4).reshape(2, 2)
    return EvaluationRecord(
        metrics=metrics,
        validation=val_scores,
        operating_points=tuple(
            {"name": name, "threshold": value, "scores": score(test, labels, value), "is_result": is_result}
            for name, value, is_result in points
        ),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        predictions=store.put_arrays({"probabilities": test, "predicted": predicted, "labels": labels}),
        classifier_sha256=predictions.classifier_sha256,
        threshold=threshold,
    )


@step
def explain_classifier(dataset: DatasetRecord, classifier: ClassifierRecord) -> ArrayRecord:
    """Map where in each test image the evidence for pneumonia lies (Grad-CAM)."""
    from models import weights
    from models.grad_cam import grad_cam
    from models.preprocessing import Normalization

    store = Store()
    model, card = weights.load(store.get(classifier.weights))
    images = store.get_arrays(dataset.splits)["test_images"]
    maps = grad_cam(model, images, Normalization(**card["normalization"]))
    return ArrayRecord(arrays=store.put_arrays({"maps": maps}), shapes={"maps": maps.shape})


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
    from models.training import EpochMetrics
    from tasks.classification import figures
    from tasks.classification.calibration import calibrated_probabilities

    store = Store()
    images = store.get_arrays(dataset.splits)["test_images"]
    maps = store.get_arrays(explanation.arrays)["maps"]
    outputs = store.get_arrays(predictions.outputs)
    labels, logits, threshold = outputs["test_labels"], outputs["test_logits"], calibration.threshold
    before, after = (calibrated_probabilities(logits, temperature) for temperature in (1.0, calibration.temperature))
    history = [EpochMetrics(**epoch.model_dump()) for epoch in classifier.history]
    phantoms = dataset.phantoms
    pictures = {
        "training_curves": figures.training_curves(history, classifier.best_epoch, phantoms=phantoms),
        "confusion_matrix": figures.confusion_matrix(after, labels, threshold, phantoms=phantoms),
        "roc_curve": figures.roc_curve(after, labels, threshold, phantoms=phantoms),
        "precision_recall_curve": figures.precision_recall_curve(after, labels, threshold, phantoms=phantoms),
        "reliability_diagram": figures.reliability_diagram(before, after, labels, phantoms=phantoms),
        "failure_cases": figures.failure_cases(images, after, labels, threshold, limit=failures, phantoms=phantoms),
        "grad_cam": figures.grad_cam_montage(images, maps, after, labels, threshold, phantoms=phantoms),
    }
    return FiguresRecord(figures={name: store.put(png, "image/png") for name, png in pictures.items()})


@step
def document_classification(
    dataset: DatasetRecord,
    classifier: ClassifierRecord,
    calibration: CalibrationRecord,
    evaluation: EvaluationRecord,
    training: TrainingParameters,
) -> DocumentRecord:
    """Write the stage's report."""
    from tasks.classification.summary import OperatingPoint, SplitCounts, classification_report

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    splits = []
    for split in ("train", "val", "test"):
        excluded = list(dataset.excluded_train) if split == "train" else []
        normal, pneumonia = np.bincount(np.delete(arrays[f"{split}_labels"], excluded), minlength=2).tolist()
        splits.append(SplitCounts(split, normal, pneumonia, len(excluded)))
    protocol = [
        ("dataset", f"{dataset.name} {dataset.size}×{dataset.size}, {dataset.kind}, MD5 {dataset.md5}"),
        ("network", f"{training.architecture}, {training.loss}, {training.epochs} epochs, seed {training.seed}"),
        ("weights", f"epoch {classifier.best_epoch}, lowest class-balanced loss on validation"),
        ("temperature", f"{calibration.temperature:.3f}, fitted on validation"),
        ("operating point", f"{calibration.threshold:.3f}, {RULES[calibration.rule]}"),
        ("test split", "scored once, after everything above was settled"),
    ]
    report = classification_report(
        protocol=protocol,
        splits=splits,
        test_scores={
            name.removeprefix("test/"): value for name, value in evaluation.metrics.items() if name.startswith("test/")
        },
        val_scores=evaluation.validation,
        operating_points=[OperatingPoint(**point) for point in evaluation.operating_points],
        confusion=evaluation.confusion,
        phantoms=dataset.phantoms,
    )
    audit = store.get(dataset.audit_table).decode()
    return DocumentRecord(document=store.put(f"{report}\n## Data audit\n\n{audit}".encode(), "text/markdown"))
