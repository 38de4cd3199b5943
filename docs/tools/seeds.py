"""Train the classifier of the preset `standard` with some seeds, score each once, and put their figures in a table.

    python -m docs.tools.seeds 10 11 12 13 14 --precision bf16
    python -m docs.tools.seeds 10 11 12 13 14 --table           # of what is there, computes nothing

These are the steps of `flows.retrieval` without orchestrator, tracker, explanations and audits, so that a frozen
protocol (`docs/protocol.md`) costs little more than its trainings. A training that is interrupted goes on from its last
epoch. Each seed leaves `seeds/seed-<n>.json` in the folder of the products; one that is there is not scored again.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from models.choices import ARCHITECTURES, Precision
from models.classifier.epoch_metrics import EpochMetrics
from models.classifier.preprocessing import Normalization
from models.classifier.training import train
from models.errors import InputError
from models.own_encoders.table import encoder_class
from tasks.classification.classifier_file import trained_file
from tasks.classification.steps.evaluation import calibrate_classifier, evaluate_classifier
from tasks.classification.steps.registration import validation_log_loss
from tasks.classification.steps.training import predict_classifier
from tasks.data.steps import locate_source, prepare_dataset
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.classification import ClassifierRecord
from tasks.records.data import DatasetRecord
from tasks.records.retrieval import EmbeddingsRecord
from tasks.retrieval import encoders
from tasks.retrieval.settings import SPLITS
from tasks.retrieval.steps.encoding import embed_shard, fit_encoder
from tasks.retrieval.steps.evaluation import evaluate_retrieval
from tasks.shared.markdown import table
from tasks.storage.checkpoints import StoredCheckpoints
from tasks.storage.locations import outputs
from tasks.storage.store import Store

logger = logging.getLogger(__name__)

CLASSIFICATION = (
    "test/auc", "test/average_precision", "test/accuracy", "test/balanced_accuracy", "test/recall", "test/specificity",
    "test/precision", "test/f1", "test/ece", "test/brier", "val/auc", "val/balanced_log_loss", "threshold",
    "train/seconds",
)  # fmt: skip
RETRIEVAL = ("precision_at_1", "precision_at_5", "precision_at_10", "map", "map_normal", "map_pneumonia", "hit_at_5")


def file_of(seed: int) -> Path:
    """Say where the figures of a seed lie."""
    return outputs() / "seeds" / f"seed-{seed}.json"


def outputs_of(seed: int) -> dict[str, NDArray[Any]]:
    """Read the outputs of a seed that was scored, as in `PredictionsRecord`."""
    digest = json.loads(file_of(seed).read_bytes())["outputs"]
    with np.load(outputs() / "store" / "sha256" / digest[:2] / f"{digest}.npz") as arrays:
        return dict(arrays)


def score_seed(
    data: DatasetRecord, training: TrainingParameters, evaluation: EvaluationParameters, retrieval: RetrievalParameters
) -> dict[str, Any]:
    """Train with a seed and score it, as the flows do.

    Args:
        data: the dataset.
        training: the form.
        evaluation: the form.
        retrieval: the form.

    Returns:
        When, with which forms, and the figures by their names in MLflow: `metrics`, `operating_points` and, by encoder,
        `retrieval`.
    """
    started = datetime.now(UTC)
    classifier = _trained(data, training)
    predictions = predict_classifier.fn(data, classifier)
    calibration = calibrate_classifier.fn(predictions, evaluation.threshold_rule)
    scores = evaluate_classifier.fn(predictions, calibration, evaluation.bootstrap_samples)
    points = {
        "val/balanced_log_loss": validation_log_loss(predictions, calibration),
        "threshold": scores.threshold,
        "calibration/temperature": calibration.temperature,
        "train/seconds": classifier.seconds,
    }
    found = {}
    for name in retrieval.encoders:
        fitted = encoder_class(name).needs_fitting
        encoder = fit_encoder.fn(data, classifier, name) if fitted else encoders.describe(name, classifier)
        shards = {split: (embed_shard.fn(data, encoder, split, 0, data.counts[split]),) for split in SPLITS}
        dimension = shards["test"][0].shape[1]
        embeddings = EmbeddingsRecord(name=name, identity=encoder.identity, dimension=dimension, shards=shards)
        ks, samples = retrieval.k_values, retrieval.bootstrap_samples
        found[name] = evaluate_retrieval.fn(data, embeddings, scores, ks, samples).metrics
    return {
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "training": training.model_dump(mode="json"),
        "evaluation": evaluation.model_dump(mode="json"),
        "best_epoch": classifier.best_epoch,
        "outputs": predictions.outputs.sha256,
        "metrics": scores.metrics | points,
        "operating_points": scores.operating_points,
        "retrieval": found,
    }


def summarise(scored: Sequence[Mapping[str, Any]]) -> str:
    """Put the figures of several seeds in tables.

    Args:
        scored: what `score_seed` returned, one for each seed.

    Returns:
        Markdown: classification, operating points and retrieval, mean ± standard deviation of the sample.
    """
    seeds = ", ".join(str(each["training"]["seed"]) for each in scored)
    parts = [f"Seeds {seeds}; best epochs {', '.join(str(each['best_epoch']) for each in scored)}.\n"]
    rows = [(name, *_spread([each["metrics"][name] for each in scored])) for name in CLASSIFICATION]
    parts.append(table(["metric", "mean ± sd", "each"], rows))
    points = []
    for place, point in enumerate(scored[0]["operating_points"]):
        each = [one["operating_points"][place] for one in scored]
        cells = [_spread([one["scores"][name] for one in each])[0] for name in _POINT]
        points.append((point["name"], _spread([one["threshold"] for one in each])[0], *cells))
    parts.append(table(["threshold", "at", *_POINT], points))
    header = ["", *(f"{name}, {protocol}" for protocol in ("loo", "gallery") for name in scored[0]["retrieval"])]
    rows = [
        (
            metric,
            *(
                _spread([each["retrieval"][name][f"{protocol}/{metric}"] for each in scored])[0]
                for protocol in ("loo", "gallery")
                for name in scored[0]["retrieval"]
            ),
        )
        for metric in RETRIEVAL
    ]
    parts.append(table(header, rows))
    return "\n".join(parts)


_POINT = ("accuracy", "balanced_accuracy", "recall", "specificity")


def _spread(values: Sequence[float]) -> tuple[str, str]:
    """Write mean and standard deviation, and each value."""
    deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{deviation}", " ".join(f"{value:.4f}" for value in values)


def _trained(data: DatasetRecord, training: TrainingParameters) -> ClassifierRecord:
    store = Store()
    arrays = store.get_arrays(data.splits)
    images, labels = (np.delete(arrays[f"train_{kind}"], data.excluded_train, axis=0) for kind in ("images", "labels"))
    normalization = Normalization.from_images(images)

    def tell(epoch: EpochMetrics) -> None:
        logger.info(
            "seed %d, epoch %d of %d: validation AUC %.4f, loss %.4f, %.0f s",
            training.seed, epoch.epoch, training.epochs, epoch.val_auc, epoch.val_loss, epoch.seconds,
        )  # fmt: skip

    result = train(
        images,
        labels,
        arrays["val_images"],
        arrays["val_labels"],
        normalization,
        training,
        classes=len(data.labels),
        checkpoints=StoredCheckpoints(store, f"seeds-{training.seed}"),
        on_epoch=tell,
    )
    content = trained_file(result.weights, normalization, data, training, None, result.best_epoch)
    return ClassifierRecord(
        architecture=training.architecture,
        weights=store.put(content, "application/x-safetensors"),
        best_epoch=result.best_epoch,
        dataset_sha256=data.sha256,
        history=tuple(result.history),
        seconds=sum(epoch.seconds for epoch in result.history),
        seed=training.seed,
    )


def main(arguments: Sequence[str]) -> str:
    """Score the seeds that are not scored yet, and make the tables.

    Args:
        arguments: of the command line.

    Returns:
        Markdown.

    Raises:
        InputError: a seed was scored with other settings, or none was scored and none is to be.
    """
    parser = argparse.ArgumentParser(prog="python -m docs.tools.seeds")
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--precision", choices=get_args(Precision), default="auto", help="as --training.precision")
    parser.add_argument(
        "--architecture", choices=ARCHITECTURES, default="ensemble28", help="as --training.architecture"
    )
    parser.add_argument("--table", action="store_true", help="compute nothing")
    options = parser.parse_args(arguments)
    if not options.table:
        data = prepare_dataset.fn(locate_source(DatasetParameters()), None)
        for seed in options.seeds:
            training = TrainingParameters(seed=seed, architecture=options.architecture, precision=options.precision)
            score(data, training, EvaluationParameters(), RetrievalParameters())
    scored = [json.loads(file_of(seed).read_bytes()) for seed in options.seeds if file_of(seed).exists()]
    if not scored:
        raise InputError(f"None of the seeds {options.seeds} was scored in {file_of(0).parent}; leave out --table.")
    return summarise(scored)


def score(
    data: DatasetRecord, training: TrainingParameters, evaluation: EvaluationParameters, retrieval: RetrievalParameters
) -> None:
    """Score a seed if that has not been done, and write down its figures.

    Args:
        data: the dataset.
        training: the form.
        evaluation: the form.
        retrieval: the form.

    Raises:
        InputError: it was scored with other settings.
    """
    file = file_of(training.seed)
    if file.exists():
        if json.loads(file.read_bytes())["training"] != training.model_dump(mode="json"):
            raise InputError(f"{file} was made with other settings; name another folder with OUTPUTS.")
        return
    found = score_seed(data, training, evaluation, retrieval)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1))
    partial.replace(file)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    try:
        sys.stdout.write(main(sys.argv[1:]))
    except InputError as error:
        raise SystemExit(str(error)) from error
