"""The markdown report of the classification stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.markdown import Markdown, escape
from models.notices import RANDOM_ENCODER_NOTICE
from tasks.classification.metrics import KAPPA, METRICS
from tasks.classification.trust.calibration import RULES
from tasks.parameters.training import TrainingParameters
from tasks.records.classification import CalibrationRecord, ClassifierRecord, EvaluationRecord
from tasks.records.data import DatasetRecord
from tasks.shared.markdown import document, picture, table

MISTAKES_NAMED = 3


_CURVES = (
    picture("roc_curve", "Sensitivity over false alarms at every threshold: the further up and left, the better.")
    + picture(
        "precision_recall_curve", "Precision over recall at every threshold: the higher above chance, the better."
    )
    + picture(
        "reliability_diagram",
        "How often what was said came true, over how probable it was said to be: on the dotted line they hold.",
    )
)
_MATRIX = picture(
    "confusion_matrix", "Test images by true and predicted class: those off the diagonal are misclassified."
)
_EXAMPLES = picture(
    "grad_cam", "Where the evidence for a class lies in the image: not where a disease is, and no proof of one."
) + picture("failure_cases", "The errors that the classifier is surest of, framed in the colour of their true class.")
_TRAINING = picture(
    "training_curves", "The training over its epochs: the weights of the epoch at the dashed line are kept."
) + picture("regularisation", "The probe by the strength of its regularisation: the one at the dashed line was chosen.")


@dataclass(frozen=True)
class SplitCounts:
    """How many images a split holds.

    Attributes:
        name: of the split.
        counts: images of each class.
        excluded: images that were left out, because another split holds the same pixels.
    """

    name: str
    counts: Sequence[int]
    excluded: int = 0


def protocol(
    dataset: DatasetRecord, training: TrainingParameters, classifier: ClassifierRecord, calibration: CalibrationRecord
) -> list[tuple[str, str]]:
    """Say what was decided, and how.

    Args:
        dataset: the data.
        training: the form.
        classifier: what was trained.
        calibration: temperature and operating point.

    Returns:
        Pairs for `classification_report`.
    """
    decision = "the likeliest class"
    if calibration.threshold is not None and calibration.rule is not None:
        decision = f"{calibration.threshold:.3f}, {RULES[calibration.rule].description}"
    network = f"{training.architecture}, {training.loss}, {training.epochs} epochs, seed {training.seed}"
    weights = f"epoch {classifier.best_epoch}, lowest class-balanced loss on validation"
    if (encoder := classifier.encoder) is not None and (probe := classifier.probe) is not None:
        licence, notice = encoder.licence or "unknown", f" {RANDOM_ENCODER_NOTICE}" * encoder.random_weights
        network = f"logistic regression on the frozen encoder {encoder.identity}, licence: {licence}.{notice}"
        weights = (
            f"C = {probe.strength:.2g} of {len(probe.candidates)}, lowest class-balanced loss on validation, of equal "
            "ones the strongest regularisation"
        )
    return [
        ("dataset", f"{dataset.title} {dataset.size}×{dataset.size}, {dataset.kind}, MD5 {dataset.md5}"),
        ("network", network),
        ("weights", weights),
        ("temperature", f"{calibration.temperature:.3f}, fitted on validation"),
        ("operating point", decision),
        ("test split", "scored once, after everything above was settled"),
    ]


def split_counts(arrays: Mapping[str, NDArray[Any]], excluded_train: Sequence[int], classes: int) -> list[SplitCounts]:
    """Count the images of each class.

    Args:
        arrays: `train_labels`, `val_labels` and `test_labels`, each of shape (images,).
        excluded_train: positions of the training images that are left out.
        classes: number of classes.

    Returns:
        The counts of each split.
    """
    left_out: dict[str, Sequence[int]] = {"train": excluded_train, "val": (), "test": ()}
    return [
        SplitCounts(split, np.bincount(np.delete(arrays[f"{split}_labels"], out), minlength=classes).tolist(), len(out))
        for split, out in left_out.items()
    ]


def classification_report(
    *,
    class_names: Sequence[str],
    protocol: Sequence[tuple[str, str]],
    splits: Sequence[SplitCounts],
    evaluation: EvaluationRecord,
    sections: Sequence[tuple[str, str]] = (),
    phantoms: bool,
) -> str:
    """Write the report.

    Args:
        class_names: name of each class.
        protocol: pairs of what was decided (best epoch, temperature, threshold …) and how.
        splits: image counts.
        evaluation: the scores.
        sections: pairs of heading and markdown that follow the report's own.
        phantoms: whether the data are drawn phantoms.

    Returns:
        Markdown.
    """
    body = [
        ("Test scores", _CURVES + _test_scores(class_names, evaluation)),
        ("Confusion matrix on test", _MATRIX + _confusion(class_names, evaluation.confusion)),
        ("What it looks at, and where it errs", _EXAMPLES),
    ]
    if evaluation.operating_points:
        body.append(("Operating points on test", _operating_points(evaluation.operating_points)))
    body += [("Protocol", _TRAINING + table(("decided", "how"), protocol)), ("Data", _data(class_names, splits))]
    return document("Classification", [*body, *sections], phantoms=phantoms)


def _data(class_names: Sequence[str], splits: Sequence[SplitCounts]) -> str:
    totals = [sum(split.counts) for split in splits]
    rows: list[tuple[object, ...]] = [
        (name, *(f"{split.counts[number]} ({split.counts[number] / max(1, total):.1%})"
                 for split, total in zip(splits, totals, strict=True)))
        for number, name in enumerate(class_names)
    ]  # fmt: skip
    rows += [("all", *totals), ("left out, since another split holds them", *(split.excluded for split in splits))]
    return table(("class", *(split.name for split in splits)), rows)


def _test_scores(class_names: Sequence[str], evaluation: EvaluationRecord) -> str:
    test, validation = evaluation.metrics, evaluation.validation
    rows = [
        (
            name.replace("_", " "),
            test[f"test/{name}"],
            f"{test[f'test/{name}_ci_low']:.3f} – {test[f'test/{name}_ci_high']:.3f}",
            validation[name],
        )
        for name in (*METRICS, KAPPA)
        if name in validation
    ]
    meaning = (
        f"Precision, recall, specificity, F1 and average precision are of the class “{escape(class_names[1])}”."
        if len(class_names) == 2
        else "AUC, precision, recall, specificity, F1 and average precision are means over the classes, each against "
        "the rest; the ECE is of the predicted class."
    )
    if KAPPA in validation:
        meaning += " The classes are grades: in Cohen's quadratic kappa a mistake counts by the square of its distance."
    return (
        table(("metric", "test", "95 % interval", "validation"), rows)
        + f"\n{meaning} The intervals are from a percentile bootstrap over the test images; they do not cover the "
        "variation between training seeds."
    )


def _operating_points(points: Sequence[Mapping[str, Any]]) -> str:
    columns = ("accuracy", "balanced_accuracy", "recall", "specificity", "precision", "f1")
    rows = [
        (
            point["name"]
            if point["is_result"]
            else Markdown(f"*{escape(point['name'])}: tuned on test, not a result*"),
            point["threshold"],
            *(point["scores"][column] for column in columns),
        )
        for point in points
    ]
    return table(("threshold chosen by", "threshold", *(column.replace("_", " ") for column in columns)), rows)


def _confusion(class_names: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    rows = [
        (name, *counts, counts[number] / max(1, sum(counts)))
        for number, (name, counts) in enumerate(zip(class_names, confusion, strict=True))
    ]
    mistakes = [
        (count, class_names[truth], class_names[predicted])
        for truth, counts in enumerate(confusion)
        for predicted, count in enumerate(counts)
        if count and truth != predicted
    ]
    errors, images = sum(count for count, _, _ in mistakes), sum(map(sum, confusion))
    sentence = f"{errors} of {images} test images are misclassified"
    if mistakes:
        most = sorted(mistakes, key=lambda mistake: -mistake[0])[:MISTAKES_NAMED]
        start = "" if len(most) == len(mistakes) else "most often "
        sentence += f": {start}" + ", ".join(
            f"{count} × “{escape(truth)}” as “{escape(predicted)}”" for count, truth, predicted in most
        )
    return table(("true", *(f"predicted {name}" for name in class_names), "recall"), rows) + f"\n{sentence}."
