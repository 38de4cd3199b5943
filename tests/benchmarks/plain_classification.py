"""What the classification flow computes, as a plain script: the same functions, no orchestrator, no tracking, no store.

It keeps its arrays in memory and writes what it produces once: weights, the graph to serve, figures, findings, report.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.classifier import weights
from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from models.classifier.serving import ServedClassifier
from models.classifier.training import train
from models.classifier.training_settings import TrainingSettings
from models.explanation.deletion_insertion import remove_pixels
from models.explanation.grad_cam import grad_cam
from models.explanation.weight_randomisation import edge_maps, randomise_weights
from tasks.classification import figures
from tasks.classification.explanation import figures as explanation_figures
from tasks.classification.explanation.report import (
    explanation_metrics,
    explanation_report,
    maps_of_other_images,
    spread_sample,
)
from tasks.classification.metrics import score, score_with_intervals
from tasks.classification.summary import OperatingPoint, SplitCounts, classification_report
from tasks.classification.trust import figures as trust_figures
from tasks.classification.trust.calibration import (
    RULES,
    best_accuracy_threshold,
    calibrated_probabilities,
    candidate_thresholds,
    decide,
    fit_temperature,
)
from tasks.classification.trust.conformal import conformal_markdown, conformal_metrics, evaluate_conformal
from tasks.classification.trust.failure_analysis import (
    analyse_failures,
    confidences,
    failure_markdown,
    failure_metrics,
    neighbourhood,
)
from tasks.classification.trust.shift import SplitOutputs, measure_shift, shift_markdown, shift_metrics
from tasks.data.audit import audit, audit_table
from tasks.data.catalogue import look_up
from tasks.data.validation import SPLITS, read_splits
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.training import TrainingParameters
from tasks.shared.figures import Source

SEED = 0  # of the bootstrap


def classify(
    file: Path, training: TrainingParameters, evaluation: EvaluationParameters, folder: Path
) -> dict[str, float]:
    """Do the work of the classification, two classes, without label audit.

    Args:
        file: the official file of PneumoniaMNIST.
        training: the form.
        evaluation: the form.
        folder: where the products go.

    Returns:
        The metrics that the flow logs, by its names, but for times.
    """
    entry = look_up()
    names = tuple(entry.labels[label] for label in sorted(entry.labels))
    splits = read_splits(file.read_bytes(), labels=entry.labels, size=28, channels=1)
    audited = audit(splits, entry.labels)
    shared = list(audited.train_shared_with_validation)
    images = {split: splits.images(split) for split in SPLITS}
    labels = {split: splits.labels(split) for split in SPLITS}
    images["train"], labels["train"] = (np.delete(values["train"], shared, axis=0) for values in (images, labels))

    normalization = Normalization.from_images(images["train"])
    settings = TrainingSettings(**training.model_dump())
    trained = train(images["train"], labels["train"], images["val"], labels["val"], normalization, settings)
    model = build_classifier(training.architecture)
    model.load_state_dict(trained.weights)
    model.eval()

    outputs = {split: predict(model, images[split], normalization) for split in SPLITS}
    temperature = fit_temperature(outputs["val"].logits, labels["val"])
    calibrated = {split: calibrated_probabilities(outputs[split].logits, temperature) for split in ("val", "test")}
    rule = evaluation.threshold_rule
    candidates = candidate_thresholds(calibrated["val"], labels["val"], rule)
    threshold = candidates[rule]

    scores = {
        split: score_with_intervals(
            calibrated[split], labels[split], threshold, samples=evaluation.bootstrap_samples, seed=SEED
        )
        for split in ("val", "test")
    }
    test, truth = calibrated["test"], labels["test"]
    predicted = {split: decide(calibrated[split], threshold) for split in ("val", "test")}
    metrics = {f"{split}/{name}": value for split, found in scores.items() for name, value in found.items()}
    metrics |= {"calibration/temperature": temperature, "threshold": threshold}
    used = sorted(candidates, key=lambda name: name != rule)
    points = [
        OperatingPoint(RULES[name].description, candidates[name], score(test, truth, candidates[name])) for name in used
    ]
    oracle = best_accuracy_threshold(test, truth)
    points.append(OperatingPoint("oracle, best accuracy", oracle, score(test, truth, oracle), False))
    confusion = np.bincount(2 * truth + predicted["test"], minlength=4).reshape(2, 2).tolist()

    validation_outputs, test_outputs = (
        SplitOutputs(images[split], labels[split], calibrated[split], predicted[split], outputs[split].embeddings)
        for split in ("val", "test")
    )
    conformal = evaluate_conformal(calibrated["val"], labels["val"], test, truth, names)
    shifts = measure_shift(validation_outputs, test_outputs, names)
    around = neighbourhood(
        outputs["test"].embeddings, predicted["test"], truth, outputs["train"].embeddings, labels["train"]
    )
    failures = analyse_failures(test, threshold, truth, around, names)
    confidence = confidences(test, threshold)
    metrics |= conformal_metrics(conformal) | shift_metrics(shifts) | failure_metrics(failures)

    shown = figures.explained_cases(test, truth, threshold)
    targets = figures.explained_classes(test, truth, threshold)[shown]
    pairs = np.stack([grad_cam(model, images["test"][shown], normalization, target=each) for each in targets.T], axis=1)
    maps = grad_cam(model, images["test"], normalization, target=1)

    sample = images["test"][spread_sample(truth, evaluation.explained_images)]
    called = (predict(model, sample, normalization, flip=False).logits > 0).astype(np.int64)
    edges = edge_maps(sample)
    explainers = {
        "Grad-CAM": lambda network: grad_cam(network, sample, normalization, target=called),
        "edges": lambda network: edges,
    }
    randomisation = randomise_weights(model, sample, normalization, explainers, draws=evaluation.explanation_draws)
    own = grad_cam(model, sample, normalization, target=called)
    orders = {
        "Grad-CAM": own,
        "map of another image": maps_of_other_images(own, called),
        "brightest first": sample.reshape(*sample.shape[:3], -1).mean(axis=-1),
    }
    removal = remove_pixels(model, sample, normalization, orders, called)
    metrics |= explanation_metrics(randomisation, removal)

    scored: tuple[Any, ...] = (test, truth, threshold)
    source = Source("pneumoniamnist", f"{training.architecture}, seed {training.seed}")
    options: dict[str, Any] = {"class_names": names, "source": source}
    before = calibrated_probabilities(outputs["test"].logits, 1.0)
    pictures = {
        "conformal_coverage": trust_figures.conformal_coverage(conformal, source=source),
        "score_shift": trust_figures.score_shift(validation_outputs, test_outputs, shifts, threshold, source=source),
        "failure_overview": trust_figures.failure_overview(failures, around, confidence, source=source),
        "grad_cam_randomisation": explanation_figures.randomisation_curve(randomisation, source=source),
        "grad_cam_randomisation_examples": explanation_figures.randomisation_montage(
            sample, randomisation, source=source
        ),
        "grad_cam_deletion_insertion": explanation_figures.deletion_insertion_curves(removal, source=source),
        "training_curves": figures.training_curves(trained.history, trained.best_epoch, source=source),
        "confusion_matrix": figures.confusion_matrix(*scored, **options),
        "roc_curve": figures.roc_curve(*scored, **options),
        "precision_recall_curve": figures.precision_recall_curve(*scored, **options),
        "reliability_diagram": figures.reliability_diagram(before, test, truth, **options),
        "failure_cases": figures.failure_cases(images["test"], *scored, limit=evaluation.failures, **options),
        "grad_cam": figures.grad_cam_montage(
            images["test"][shown], pairs, test[shown], truth[shown], threshold, numbers=shown, **options
        ),
    }
    sections = [
        ("Conformal sets", conformal_markdown(conformal)),
        ("Shift between validation and test", shift_markdown(shifts)),
        ("Failure analysis", failure_markdown(failures)),
        ("Explanation", explanation_report(randomisation, removal, class_names=names)),
        ("Data audit", audit_table(audited)),
    ]
    report = classification_report(
        class_names=names,
        protocol=[("network", training.architecture), ("temperature", f"{temperature:.3f}")],
        splits=[
            SplitCounts(split, np.bincount(labels[split], minlength=2).tolist(), len(shared) * (split == "train"))
            for split in SPLITS
        ],
        test_scores=scores["test"],
        val_scores=scores["val"],
        operating_points=points,
        confusion=confusion,
        sections=sections,
        phantoms=False,
    )
    card = {
        "architecture": training.architecture,
        "classes": 2,
        "channels": 1,
        "normalization": asdict(normalization),
        "temperature": temperature,
        "threshold": threshold,
    }
    arrays = {f"{split}_embeddings": outputs[split].embeddings for split in SPLITS} | {"grad_cam": maps}
    findings = {"conformal": asdict(conformal), "shift": [asdict(shift) for shift in shifts], "metrics": metrics}
    _write(folder, {f"{name}.png": png for name, png in pictures.items()})
    _write(folder, {"report.md": report.encode(), "classifier.safetensors": weights.dump(model, card)})
    _write(folder, {"findings.json": json.dumps(findings | {"audit": asdict(audited)}).encode()})
    np.savez(folder / "outputs.npz", **arrays)
    graph = torch.export.export(
        ServedClassifier(model, normalization, temperature),
        (torch.zeros(2, 28, 28),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    torch.export.save(graph, folder / "served.pt2")
    return metrics


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
