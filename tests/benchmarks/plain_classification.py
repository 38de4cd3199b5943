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
from numpy.typing import NDArray

from models.classifier import weights
from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from models.classifier.serving import ServedClassifier
from models.classifier.training import train
from models.classifier.training_settings import TrainingSettings
from models.explanation.grad_cam import grad_cam
from tasks.classification.classifier_file import LoadedClassifier
from tasks.classification.evaluation import evaluate
from tasks.classification.explanation.checks import check_maps
from tasks.classification.explanation.report import spread_sample
from tasks.classification.figures import draw_figures
from tasks.classification.predictions import Predictions
from tasks.classification.summary import classification_report, split_counts
from tasks.classification.trust.calibration import calibrated_probabilities, candidate_thresholds, fit_temperature
from tasks.classification.trust.findings import trust_findings
from tasks.classification.trust.shift import split_outputs
from tasks.data.audit import audit, audit_table
from tasks.data.catalogue import look_up
from tasks.data.validation import SPLITS, read_splits
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import StoredFile
from tasks.records.classification import EvaluationRecord
from tasks.shared.figures import Source

_NOWHERE = StoredFile(uri="", sha256="", size=0, media_type="")


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
    arrays: dict[str, NDArray[Any]] = {}
    for split in SPLITS:
        arrays |= {f"{split}_images": splits.images(split), f"{split}_labels": splits.labels(split)}
    images, labels = (np.delete(arrays[f"train_{kind}"], shared, axis=0) for kind in ("images", "labels"))

    normalization = Normalization.from_images(images)
    settings = TrainingSettings(**training.model_dump())
    trained = train(images, labels, arrays["val_images"], arrays["val_labels"], normalization, settings)
    model = build_classifier(training.architecture)
    model.load_state_dict(trained.weights)
    model.eval()

    outputs: dict[str, NDArray[Any]] = {"train_embeddings": predict(model, images, normalization).embeddings}
    for split in ("val", "test"):
        found = predict(model, arrays[f"{split}_images"], normalization)
        outputs |= {f"{split}_logits": found.logits, f"{split}_embeddings": found.embeddings}
    temperature = fit_temperature(outputs["val_logits"], arrays["val_labels"])
    calibrated = {
        split: (calibrated_probabilities(outputs[f"{split}_logits"], temperature), arrays[f"{split}_labels"])
        for split in ("test", "val")
    }
    rule = evaluation.threshold_rule
    candidates = candidate_thresholds(*calibrated["val"], rule)
    threshold = candidates[rule]
    scores = evaluate(calibrated, rule, candidates, evaluation.bootstrap_samples)

    source = Source("pneumoniamnist", f"{training.architecture}, seed {training.seed}")
    shown: dict[str, Any] = {"class_names": names, "source": source}
    validation, test = (split_outputs(split, arrays, outputs, temperature, threshold) for split in ("val", "test"))
    trust = trust_findings(validation, test, threshold, outputs["train_embeddings"], labels, **shown)
    sample = arrays["test_images"][spread_sample(arrays["test_labels"], evaluation.explained_images)]
    loaded = LoadedClassifier(model, normalization, {})
    checked = check_maps(loaded, sample, draws=evaluation.explanation_draws, **shown)

    predictions = Predictions(*calibrated["test"], threshold, names)
    cases = predictions.explained_cases()
    pairs = [
        grad_cam(model, arrays["test_images"][cases], normalization, target=target)
        for target in predictions.explained_classes[cases].T
    ]
    maps = grad_cam(model, arrays["test_images"], normalization, target=1)
    before = calibrated_probabilities(outputs["test_logits"], 1.0)
    explanation: dict[str, NDArray[Any]] = {"shown": cases, "pairs": np.stack(pairs, axis=1)}
    pictures = draw_figures(
        trained.history, trained.best_epoch, arrays["test_images"], before, predictions, explanation,
        failures=evaluation.failures, source=source,
    ) | trust.figures | checked.figures  # fmt: skip
    record = EvaluationRecord(
        metrics=scores.metrics,
        validation=scores.validation,
        operating_points=scores.operating_points,
        confusion=tuple(map(tuple, scores.confusion.tolist())),
        predictions=_NOWHERE,
        classifier_sha256="",
        threshold=threshold,
    )
    report = classification_report(
        class_names=names,
        protocol=[("network", training.architecture), ("temperature", f"{temperature:.3f}")],
        splits=split_counts(arrays, shared, len(names)),
        evaluation=record,
        sections=[*trust.sections, *checked.sections, ("Data audit", audit_table(audited))],
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
    findings = {"trust": trust.details, "explanation": checked.details, "audit": asdict(audited)}
    _write(folder, {f"{name}.png": png for name, png in pictures.items()})
    _write(folder, {"report.md": report.encode(), "classifier.safetensors": weights.dump(model, card)})
    _write(folder, {"findings.json": json.dumps(findings).encode()})
    np.savez(folder / "outputs.npz", grad_cam=maps, **outputs)  # type: ignore[arg-type]
    graph = torch.export.export(
        ServedClassifier(model, normalization, temperature),
        (torch.zeros(2, 28, 28),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    torch.export.save(graph, folder / "served.pt2")
    points = {"calibration/temperature": temperature, "threshold": threshold}
    return scores.metrics | points | trust.metrics | checked.metrics


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
