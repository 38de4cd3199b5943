"""Steps of the classification: train, predict, calibrate, evaluate, assess, explain, audit labels, plot, document.

PyTorch, scikit-learn and Matplotlib take seconds to import, so each step imports what it needs when it runs: a run of
hits needs none of them.
"""

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from prefect.logging import get_run_logger
from tqdm import tqdm

from models.classifier.epoch_metrics import EpochMetrics
from models.errors import InputError
from models.notices import RESEARCH_NOTICE
from models.text import printable
from tasks.classification.epoch_curves import epoch_points
from tasks.execution.caching import current_key, step
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import ArrayRecord, DocumentRecord, FiguresRecord, FindingsRecord, RunReference, StoredFile
from tasks.records.classification import (
    CalibrationRecord,
    ClassifierRecord,
    ComparisonRecord,
    EvaluationRecord,
    FoldsRecord,
    PackageRecord,
    PredictionsRecord,
    PretrainedRecord,
)
from tasks.records.data import DatasetRecord
from tasks.storage.checkpoints import StoredCheckpoints
from tasks.storage.store import Store
from tasks.tracking.runs import log_points

if TYPE_CHECKING:
    from models.classifier.classifiers import Classifier

BOOTSTRAP_SEED = 0
AUDIT_EPOCHS = 8  # of each network that the label audit trains


def check_training(
    training: TrainingParameters, dataset: DatasetParameters, classes: int, train_images: int
) -> PretrainedRecord | None:
    """Refuse settings that make no training and find the weights that it starts from, before any data is read.

    Args:
        training: the form.
        dataset: the form of the data.
        classes: number of classes of the dataset.
        train_images: number of images in its official training split.

    Returns:
        The weights to start from; None for random ones.

    Raises:
        InputError: the settings do not fit each other or the dataset, or the weights cannot be found.
    """
    from models.classifier.losses import check_loss

    check_loss(training.loss, classes, focal_alpha=training.focal_alpha)
    images = min(train_images, dataset.limit or train_images)
    if dataset.path is None and training.batch_size > images:
        raise InputError(
            f"--training.batch_size {training.batch_size} is larger than the training split of {images} images: "
            "expected at most one batch of all of them; choose a smaller one."
        )
    if training.pretrained is None:
        return None
    from models.classifier.pretrained import find_weights

    path = find_weights(training.pretrained, training.architecture)
    return PretrainedRecord(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), path=str(path.resolve()))


@step
def train_classifier(
    dataset: DatasetRecord, training: TrainingParameters, pretrained: PretrainedRecord | None, run: RunReference
) -> ClassifierRecord:
    """Train, going on from the last checkpoint of the same job, and keep the weights of the best epoch."""
    from models.classifier import weights
    from models.classifier.preprocessing import Normalization
    from models.classifier.training import train

    store, logger = Store(), get_run_logger()
    arrays = store.get_arrays(dataset.splits)
    train_images = np.delete(arrays["train_images"], dataset.excluded_train, axis=0)
    train_labels = np.delete(arrays["train_labels"], dataset.excluded_train)
    normalization = Normalization.from_images(train_images)
    settings = training.model_copy(update={"pretrained": None if pretrained is None else pretrained.path})
    checkpoints = StoredCheckpoints(store, current_key())
    with tqdm(total=settings.epochs, desc="training", unit="epoch", disable=None, leave=False) as bar:

        def on_epoch(epoch: EpochMetrics) -> None:
            bar.update(epoch.epoch - bar.n)
            bar.set_postfix(val_auc=f"{epoch.val_auc:.4f}", val_loss=f"{epoch.val_loss:.3f}")
            log_points(run, epoch_points([epoch]))
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
            classes=len(dataset.labels),
            checkpoints=checkpoints,
            on_epoch=on_epoch,
        )
    if result.stopped_early:
        logger.info("the training ended early, %d epochs after the best one", settings.patience)
    model = _network(training.architecture, dataset)
    model.load_state_dict(result.weights)
    card = {
        "architecture": training.architecture,
        "classes": model.classes,
        "channels": model.channels,
        "normalization": asdict(normalization),
        "image_size": dataset.size,
        "labels": list(dataset.labels),
        "dataset_sha256": dataset.sha256,
        "dataset_limit": dataset.limit,
        "training": training.model_dump(mode="json"),
        "pretrained_sha256": None if pretrained is None else pretrained.sha256,
        "best_epoch": result.best_epoch,
    }
    stored = store.put(weights.dump(model, card), "application/x-safetensors")
    checkpoints.clear()
    return ClassifierRecord(
        architecture=training.architecture,
        weights=stored,
        best_epoch=result.best_epoch,
        dataset_sha256=dataset.sha256,
        history=tuple(result.history),
        seconds=sum(epoch.seconds for epoch in result.history),
        run_id=run.run_id,
    )


@step
def predict_classifier(dataset: DatasetRecord, classifier: ClassifierRecord) -> PredictionsRecord:
    """Compute the logits of validation and test, and the embeddings of all splits."""
    from models.classifier import weights
    from models.classifier.prediction import predict
    from models.classifier.preprocessing import Normalization

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    model, card = weights.load(store.get(classifier.weights))
    normalization = Normalization(**card["normalization"])
    train_images = np.delete(arrays["train_images"], dataset.excluded_train, axis=0)
    outputs = {"train_embeddings": predict(model, train_images, normalization).embeddings}
    for split in ("val", "test"):
        prediction = predict(model, arrays[f"{split}_images"], normalization)
        outputs[f"{split}_logits"] = prediction.logits
        outputs[f"{split}_embeddings"] = prediction.embeddings
        outputs[f"{split}_labels"] = arrays[f"{split}_labels"]
    return PredictionsRecord(outputs=store.put_arrays(outputs), classifier_sha256=classifier.weights.sha256)


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
    predictions: PredictionsRecord, calibration: CalibrationRecord, bootstrap_samples: int
) -> EvaluationRecord:
    """Score the test split, once, at the operating point."""
    from tasks.classification.metrics import score, score_with_intervals
    from tasks.classification.trust.calibration import (
        RULES,
        best_accuracy_threshold,
        calibrated_probabilities,
        class_count,
        decide,
    )
    from tasks.classification.trust.failure_analysis import confidences

    store = Store()
    outputs = store.get_arrays(predictions.outputs)
    validation, test = (
        calibrated_probabilities(outputs[f"{split}_logits"], calibration.temperature) for split in ("val", "test")
    )
    labels, threshold = outputs["test_labels"], calibration.threshold
    val_scores = score_with_intervals(
        validation, outputs["val_labels"], threshold, samples=bootstrap_samples, seed=BOOTSTRAP_SEED
    )
    scores = score_with_intervals(test, labels, threshold, samples=bootstrap_samples, seed=BOOTSTRAP_SEED)
    metrics = {f"test/{name}": value for name, value in scores.items()}
    metrics |= {f"val/{name}": value for name, value in val_scores.items()}
    rules = sorted(calibration.candidates, key=lambda rule: rule != calibration.rule)  # the one in use first
    points = [(RULES[rule].description, calibration.candidates[rule], True) for rule in rules]
    if threshold is not None:
        points.append(("oracle, best accuracy", best_accuracy_threshold(test, labels), False))
    predicted, classes = decide(test, threshold), class_count(test)
    counts = np.bincount(classes * labels + predicted, minlength=classes**2).reshape(classes, classes)
    return EvaluationRecord(
        metrics=metrics,
        validation=val_scores,
        operating_points=tuple(
            {"name": name, "threshold": value, "scores": score(test, labels, value), "is_result": is_result}
            for name, value, is_result in points
        ),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        predictions=store.put_arrays(
            {
                "probabilities": test,
                "predicted": predicted,
                "labels": labels,
                "confidence": confidences(test, threshold),
            }
        ),
        classifier_sha256=predictions.classifier_sha256,
        threshold=threshold,
    )


@step
def assess_trust(
    dataset: DatasetRecord, predictions: PredictionsRecord, calibration: CalibrationRecord
) -> FindingsRecord:
    """Measure how far the classifier can be relied on: conformal sets, shift from validation to test, failures."""
    from tasks.classification.trust import figures as trust_figures
    from tasks.classification.trust.calibration import calibrated_probabilities, decide
    from tasks.classification.trust.conformal import conformal_markdown, conformal_metrics, evaluate_conformal
    from tasks.classification.trust.failure_analysis import (
        analyse_failures,
        confidences,
        failure_markdown,
        failure_metrics,
        neighbourhood,
    )
    from tasks.classification.trust.shift import SplitOutputs, measure_shift, shift_markdown, shift_metrics

    store = Store()
    arrays, outputs = store.get_arrays(dataset.splits), store.get_arrays(predictions.outputs)
    threshold, names, phantoms = calibration.threshold, dataset.labels, dataset.phantoms

    def split_outputs(split: str) -> SplitOutputs:
        probabilities = calibrated_probabilities(outputs[f"{split}_logits"], calibration.temperature)
        return SplitOutputs(
            arrays[f"{split}_images"],
            arrays[f"{split}_labels"],
            probabilities,
            decide(probabilities, threshold),
            outputs[f"{split}_embeddings"],
        )

    validation, test = split_outputs("val"), split_outputs("test")
    train_labels = np.delete(arrays["train_labels"], dataset.excluded_train)
    conformal = evaluate_conformal(validation.probabilities, validation.labels, test.probabilities, test.labels, names)
    shifts = measure_shift(validation, test, names)
    around = neighbourhood(test.embeddings, test.predicted, test.labels, outputs["train_embeddings"], train_labels)
    failures = analyse_failures(test.probabilities, threshold, test.labels, around, names)
    confidence = confidences(test.probabilities, threshold)
    pictures = {
        "conformal_coverage": trust_figures.conformal_coverage(conformal, phantoms=phantoms),
        "score_shift": trust_figures.score_shift(validation, test, shifts, threshold, phantoms=phantoms),
        "failure_overview": trust_figures.failure_overview(failures, around, confidence, phantoms=phantoms),
    }
    return FindingsRecord(
        name="trust",
        metrics=conformal_metrics(conformal) | shift_metrics(shifts) | failure_metrics(failures),
        findings=store.put_json(
            {
                "conformal": asdict(conformal),
                "shift": [asdict(shift) for shift in shifts],
                "failures": asdict(failures),
            }
        ),
        figures=_stored(store, pictures),
        sections=(
            ("Conformal sets", conformal_markdown(conformal)),
            ("Shift between validation and test", shift_markdown(shifts)),
            ("Failure analysis", failure_markdown(failures)),
        ),
    )


@step
def explain_classifier(
    dataset: DatasetRecord, classifier: ClassifierRecord, predictions: PredictionsRecord, calibration: CalibrationRecord
) -> ArrayRecord:
    """Map the evidence (Grad-CAM): for two classes of class 1 in each test image, and in some images for a pair."""
    from models.classifier import weights
    from models.classifier.preprocessing import Normalization
    from models.explanation.grad_cam import grad_cam
    from tasks.classification.figures import explained_cases, explained_classes
    from tasks.classification.trust.calibration import calibrated_probabilities

    store = Store()
    model, card = weights.load(store.get(classifier.weights))
    normalization = Normalization(**card["normalization"])
    images = store.get_arrays(dataset.splits)["test_images"]
    outputs = store.get_arrays(predictions.outputs)
    labels, threshold = outputs["test_labels"], calibration.threshold
    probabilities = calibrated_probabilities(outputs["test_logits"], calibration.temperature)
    shown = explained_cases(probabilities, labels, threshold)
    targets = explained_classes(probabilities, labels, threshold)[shown]
    pairs = [grad_cam(model, images[shown], normalization, target=target) for target in targets.T]
    arrays: dict[str, np.ndarray] = {"shown": shown, "pairs": np.stack(pairs, axis=1)}
    if model.classes == 2:  # what the reports quote
        arrays["maps"] = grad_cam(model, images, normalization, target=1)
    return ArrayRecord(arrays=store.put_arrays(arrays), shapes={name: array.shape for name, array in arrays.items()})


@step
def check_explanation(dataset: DatasetRecord, classifier: ClassifierRecord, images: int, draws: int) -> FindingsRecord:
    """Check on some test images that the maps depend on the model, and that they point at what it uses."""
    from models.classifier import weights
    from models.classifier.prediction import predict
    from models.classifier.preprocessing import Normalization
    from models.explanation.deletion_insertion import remove_pixels
    from models.explanation.grad_cam import grad_cam
    from models.explanation.weight_randomisation import edge_maps, randomise_weights
    from tasks.classification.explanation import figures as explanation_figures
    from tasks.classification.explanation.report import (
        explanation_metrics,
        explanation_report,
        maps_of_other_images,
        spread_sample,
    )

    store = Store()
    model, card = weights.load(store.get(classifier.weights))
    normalization = Normalization(**card["normalization"])
    splits = store.get_arrays(dataset.splits)
    sample = splits["test_images"][spread_sample(splits["test_labels"], images)]
    logits = predict(model, sample, normalization, flip=False).logits
    called = (logits > 0).astype(np.int64) if model.classes == 2 else logits.argmax(axis=1)
    edges = edge_maps(sample)
    explainers = {
        "Grad-CAM": lambda network: grad_cam(network, sample, normalization, target=called),
        "edges": lambda network: edges,
    }
    randomisation = randomise_weights(model, sample, normalization, explainers, draws=draws)
    maps = grad_cam(model, sample, normalization, target=called)
    scores = {
        "Grad-CAM": maps,
        "map of another image": maps_of_other_images(maps, called),
        "brightest first": sample.reshape(*sample.shape[:3], -1).mean(axis=-1),
    }
    removal = remove_pixels(model, sample, normalization, scores, called)
    phantoms = dataset.phantoms
    pictures = {
        "grad_cam_randomisation": explanation_figures.randomisation_curve(randomisation, phantoms=phantoms),
        "grad_cam_randomisation_examples": explanation_figures.randomisation_montage(
            sample, randomisation, phantoms=phantoms
        ),
        "grad_cam_deletion_insertion": explanation_figures.deletion_insertion_curves(removal, phantoms=phantoms),
    }
    metrics = explanation_metrics(randomisation, removal)
    return FindingsRecord(
        name="explanation",
        metrics=metrics,
        findings=store.put_json(metrics),
        figures=_stored(store, pictures),
        sections=(("Explanation", explanation_report(randomisation, removal, class_names=dataset.labels)),),
    )


@step
def divide_folds(dataset: DatasetRecord, count: int) -> FoldsRecord:
    """Divide the training split into parts of equal shares of the classes; near-duplicates stay together."""
    from tasks.classification.trust.label_audit import duplicate_groups, folds, near_duplicates

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    images, labels = arrays["train_images"], arrays["train_labels"]
    groups = duplicate_groups(near_duplicates(images, labels), len(labels))
    fold = folds(labels, groups, count, BOOTSTRAP_SEED)
    return FoldsRecord(folds=store.put_arrays({"fold": fold}), count=count, dataset_sha256=dataset.sha256)


@step
def predict_fold(dataset: DatasetRecord, folds: FoldsRecord, part: int) -> ArrayRecord:
    """Compute the probabilities of one part of the training split by a small network trained on the others."""
    from models.classifier.prediction import predict
    from models.classifier.preprocessing import Normalization
    from models.classifier.training import train
    from models.classifier.training_settings import TrainingSettings
    from tasks.classification.trust.calibration import calibrated_probabilities

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    held_out = store.get_arrays(folds.folds)["fold"] == part
    kept = np.flatnonzero(~held_out)
    kept = kept[~np.isin(kept, dataset.excluded_train)]
    images, labels = arrays["train_images"][kept], arrays["train_labels"][kept]
    normalization = Normalization.from_images(images)
    classes = len(dataset.labels)
    settings = TrainingSettings(
        architecture="compact28",
        epochs=AUDIT_EPOCHS,
        batch_size=min(64, len(images)),
        loss="balanced_bce" if classes == 2 else "balanced_cross_entropy",
        ema_decay=0.98,
    )
    checkpoints = StoredCheckpoints(store, current_key())
    result = train(
        images,
        labels,
        arrays["val_images"],
        arrays["val_labels"],
        normalization,
        settings,
        classes=classes,
        checkpoints=checkpoints,
    )
    model = _network(settings.architecture, dataset)
    model.load_state_dict(result.weights)
    logits = predict(model, arrays["train_images"][held_out], normalization).logits
    stored = store.put_arrays({"probabilities": calibrated_probabilities(logits, 1.0)})
    checkpoints.clear()
    return ArrayRecord(arrays=stored, shapes={"probabilities": logits.shape})


@step
def audit_labels(dataset: DatasetRecord, folds: FoldsRecord, predictions: list[ArrayRecord]) -> FindingsRecord:
    """Look for wrong labels and near-duplicates in the training split (confident learning)."""
    from tasks.classification.trust import figures as trust_figures
    from tasks.classification.trust.label_audit import audit_labels as audit
    from tasks.classification.trust.label_audit import label_audit_markdown

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    images, labels = arrays["train_images"], arrays["train_labels"]
    fold = store.get_arrays(folds.folds)["fold"]
    parts = [store.get_arrays(prediction.arrays)["probabilities"] for prediction in predictions]
    probabilities = np.empty((len(labels), *parts[0].shape[1:]))
    for part, values in enumerate(parts):
        probabilities[fold == part] = values
    found = audit(probabilities, labels, images, dataset.labels)
    pictures = {
        "label_issues": trust_figures.label_issue_sheet(found, images, phantoms=dataset.phantoms),
        "near_duplicates": trust_figures.near_duplicate_sheet(found, images, phantoms=dataset.phantoms),
    }
    metrics = {
        "labels/issues": float(len(found.issues)),
        "labels/near_duplicates": float(len(found.duplicates)),
        "labels/contradictory_duplicates": float(sum(pair.contradictory for pair in found.duplicates)),
    }
    return FindingsRecord(
        name="labels",
        metrics=metrics,
        findings=store.put_json(asdict(found)),
        figures=_stored(store, pictures),
        sections=(("Labels of the training split", label_audit_markdown(found)),),
    )


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
    from tasks.classification import figures
    from tasks.classification.trust.calibration import calibrated_probabilities

    store = Store()
    images = store.get_arrays(dataset.splits)["test_images"]
    explained = store.get_arrays(explanation.arrays)
    shown = explained["shown"]
    outputs = store.get_arrays(predictions.outputs)
    labels, logits, threshold = outputs["test_labels"], outputs["test_logits"], calibration.threshold
    before, after = (calibrated_probabilities(logits, temperature) for temperature in (1.0, calibration.temperature))
    options: dict[str, Any] = {"class_names": dataset.labels, "phantoms": dataset.phantoms}
    scored = (after, labels, threshold)
    pictures = {
        "training_curves": figures.training_curves(
            classifier.history, classifier.best_epoch, phantoms=dataset.phantoms
        ),
        "confusion_matrix": figures.confusion_matrix(*scored, **options),
        "roc_curve": figures.roc_curve(*scored, **options),
        "precision_recall_curve": figures.precision_recall_curve(*scored, **options),
        "reliability_diagram": figures.reliability_diagram(before, after, labels, **options),
        "failure_cases": figures.failure_cases(images, *scored, limit=failures, **options),
        "grad_cam": figures.grad_cam_montage(
            images[shown], explained["pairs"], after[shown], labels[shown], threshold, numbers=shown, **options
        ),
    }
    return FiguresRecord(figures=_stored(store, pictures))


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
    from tasks.classification.summary import OperatingPoint, SplitCounts, classification_report
    from tasks.classification.trust.calibration import RULES

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    splits = []
    for split in ("train", "val", "test"):
        excluded = list(dataset.excluded_train) if split == "train" else []
        counts = np.bincount(np.delete(arrays[f"{split}_labels"], excluded), minlength=len(dataset.labels)).tolist()
        splits.append(SplitCounts(split, counts, len(excluded)))
    decision = (
        "the likeliest class"
        if calibration.threshold is None or calibration.rule is None
        else f"{calibration.threshold:.3f}, {RULES[calibration.rule].description}"
    )
    protocol = [
        ("dataset", f"{dataset.title} {dataset.size}×{dataset.size}, {dataset.kind}, MD5 {dataset.md5}"),
        ("network", f"{training.architecture}, {training.loss}, {training.epochs} epochs, seed {training.seed}"),
        ("weights", f"epoch {classifier.best_epoch}, lowest class-balanced loss on validation"),
        ("temperature", f"{calibration.temperature:.3f}, fitted on validation"),
        ("operating point", decision),
        ("test split", "scored once, after everything above was settled"),
    ]
    audit = store.get(dataset.audit_table).decode()
    report = classification_report(
        class_names=dataset.labels,
        protocol=protocol,
        splits=splits,
        test_scores={
            name.removeprefix("test/"): value for name, value in evaluation.metrics.items() if name.startswith("test/")
        },
        val_scores=evaluation.validation,
        operating_points=[OperatingPoint(**point) for point in evaluation.operating_points],
        confusion=evaluation.confusion,
        sections=[*(section for found in findings for section in found.sections), ("Data audit", audit)],
        phantoms=dataset.phantoms,
    )
    return DocumentRecord(document=store.put(report.encode(), "text/markdown"))


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
    )


@step
def package_classifier(
    dataset: DatasetRecord,
    classifier: ClassifierRecord,
    calibration: CalibrationRecord,
    evaluation: EvaluationRecord,
) -> PackageRecord:
    """Put the weights and all that their user must know into one file."""
    from models.classifier import weights

    store = Store()
    model, card = weights.load(store.get(classifier.weights))
    card |= {
        "dataset": dataset.name,
        "licence": dataset.licence,
        "weights_sha256": classifier.weights.sha256,
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "threshold_rule": calibration.rule,
        "validation": {name: value for name, value in evaluation.validation.items() if np.isfinite(value)},
        "intended_use": f"{' or '.join(dataset.labels)}, told from {dataset.size}×{dataset.size} images like those of "
        f"{dataset.name}. {RESEARCH_NOTICE}",
        "phantoms": dataset.phantoms,
        "limited": dataset.limit is not None,
    }
    return PackageRecord(package=store.put(weights.dump(model, card), "application/x-safetensors"))


@step
def compare_with_champion(
    dataset: DatasetRecord,
    predictions: PredictionsRecord,
    calibration: CalibrationRecord,
    champion: StoredFile,
    bootstrap_samples: int,
) -> ComparisonRecord:
    """Compare a classifier with the champion on validation, each with its own temperature."""
    from models.classifier import weights
    from models.classifier.prediction import predict
    from models.classifier.preprocessing import Normalization
    from tasks.classification.promotion import compare
    from tasks.classification.trust.calibration import calibrated_probabilities

    store = Store()
    outputs = store.get_arrays(predictions.outputs)
    model, card = weights.load(store.get(champion))
    images = store.get_arrays(dataset.splits)["val_images"]
    logits = predict(model, images, Normalization(**card["normalization"])).logits
    found = compare(
        calibrated_probabilities(outputs["val_logits"], calibration.temperature),
        calibrated_probabilities(logits, card["temperature"]),
        outputs["val_labels"],
        bootstrap_samples,
        BOOTSTRAP_SEED,
    )
    return ComparisonRecord(**asdict(found))


def _network(architecture: Any, dataset: DatasetRecord) -> "Classifier":
    from models.classifier.classifiers import build_classifier

    return build_classifier(architecture, classes=len(dataset.labels), channels=dataset.channels)


def _stored(store: Store, pictures: dict[str, bytes]) -> dict[str, StoredFile]:
    return {name: store.put(png, "image/png") for name, png in pictures.items()}
