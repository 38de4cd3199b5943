"""What the analyses of trust, robustness and labels hand on: metrics, figures and parts of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.classification.trust import figures
from tasks.classification.trust.calibration import calibrated_probabilities
from tasks.classification.trust.conformal import conformal_markdown, conformal_metrics, evaluate_conformal
from tasks.classification.trust.conformal_under_shift import (
    StandIn,
    conformal_under_shift,
    shifted_conformal_markdown,
    shifted_conformal_metrics,
)
from tasks.classification.trust.failure_analysis import (
    analyse_failures,
    confidences,
    failure_markdown,
    failure_metrics,
    neighbourhood,
    surest_errors,
)
from tasks.classification.trust.label_audit import (
    audit_labels,
    doubtful_labels,
    duplicate_pairs,
    label_audit_markdown,
)
from tasks.classification.trust.robustness import (
    measure_robustness,
    recalibrations,
    robustness_markdown,
    robustness_metrics,
)
from tasks.classification.trust.shift import SplitOutputs, measure_shift, shift_markdown, shift_metrics
from tasks.shared.figures import Source
from tasks.shared.findings import Findings
from tasks.shared.markdown import picture

_COVERAGE = picture(
    "conformal_coverage",
    "How often the set of a class holds the true one: the promise holds where the test interval reaches the line.",
)
_SHIFT = picture(
    "score_shift",
    "Scores of each class on both splits: where they lie apart, test images look different to the network.",
)
_FAILURES = picture(
    "failure_overview",
    "Left, what is gained by handing the least sure images to a person; right, where the errors lie and of what kind.",
)
_ROBUSTNESS = picture(
    "robustness", "Share of errors, classes weighing the same, by corruption and severity: darker is worse."
)
_LABELS = picture(
    "label_issues", "Training images whose label the networks of the other folds doubt most: for an expert to look at."
) + picture("near_duplicates", "Training images that are nearly the same, in pairs: red where their labels differ.")


def trust_findings(
    validation: SplitOutputs,
    test: SplitOutputs,
    threshold: float | None,
    train_embeddings: NDArray[np.floating],
    train_labels: NDArray[np.integer],
    *,
    class_names: Sequence[str],
    source: Source,
    stand_in: StandIn | None = None,
) -> Findings:
    """Measure how far the classifier can be relied on.

    Args:
        validation: what is known of the images of validation.
        test: the same of test.
        threshold: probability of class 1 from which it is predicted; None for more than two classes.
        train_embeddings: shape (training images, dimension).
        train_labels: shape (training images,).
        class_names: by label.
        source: what the figures are made from.
        stand_in: corrupted copies of validation images; None where there are none.

    Returns:
        Conformal sets, shift from validation to test, and failures.
    """
    conformal = evaluate_conformal(
        validation.probabilities, validation.labels, test.probabilities, test.labels, class_names
    )
    shifted = conformal_under_shift(validation, test, stand_in, class_names)
    shifts = measure_shift(validation, test, class_names)
    around = neighbourhood(test.embeddings, test.predicted, test.labels, train_embeddings, train_labels)
    failures = analyse_failures(test.probabilities, threshold, test.labels, around, class_names)
    confidence = confidences(test.probabilities, threshold)
    return Findings(
        name="trust",
        metrics=conformal_metrics(conformal)
        | shifted_conformal_metrics(shifted)
        | shift_metrics(shifts)
        | failure_metrics(failures),
        details={
            "conformal": asdict(conformal),
            "conformal_under_shift": [asdict(each) for each in shifted],
            "shift": [asdict(shift) for shift in shifts],
            "failures": asdict(failures),
        },
        figures={
            "conformal_coverage": figures.conformal_coverage(conformal, source=source),
            "score_shift": figures.score_shift(validation, test, shifts, threshold, source=source),
            "failure_overview": figures.failure_overview(failures, around, confidence, source=source),
        },
        sections=(
            ("Conformal sets", _COVERAGE + conformal_markdown(conformal) + "\n" + shifted_conformal_markdown(shifted)),
            ("Shift between validation and test", _SHIFT + shift_markdown(shifts)),
            ("Failure analysis", _FAILURES + failure_markdown(failures)),
            *((("The surest errors, one by one", surest_errors(failures)),) if failures.failures else ()),
        ),
    )


def robustness_findings(
    outputs: Mapping[str, NDArray[Any]],
    corrupted: Mapping[str, Mapping[str, NDArray[Any]]],
    temperature: float,
    threshold: float,
    *,
    source: Source,
) -> Findings:
    """Say what corruptions do to a classifier of two classes.

    Args:
        outputs: `<split>_logits` and `<split>_labels`, each of shape (images,), of `val` and `test`.
        corrupted: of `val` and `test` the `logits` of corrupted images, shape (kinds, severities, images), and
            `images`, their positions in the split.
        temperature: divisor of the logits.
        threshold: probability of class 1 from which it is predicted.
        source: what the figure is made from.

    Returns:
        Errors by kind and severity.
    """
    splits = {}
    for split in ("val", "test"):
        chosen, logits = corrupted[split]["images"], corrupted[split]["logits"]
        splits[split] = measure_robustness(
            split,
            calibrated_probabilities(outputs[f"{split}_logits"][chosen], temperature),
            calibrated_probabilities(logits.ravel(), temperature).reshape(logits.shape),
            outputs[f"{split}_labels"][chosen],
            threshold,
        )
    recalibrated = recalibrations(
        temperature,
        corrupted["val"]["logits"],
        outputs["val_labels"][corrupted["val"]["images"]],
        outputs["test_logits"],
        outputs["test_labels"],
    )
    return Findings(
        name="robustness",
        metrics=robustness_metrics(splits),
        details={
            "splits": {name: asdict(split) for name, split in splits.items()},
            "recalibrations": [asdict(each) for each in recalibrated],
        },
        figures={"robustness": figures.robustness(list(splits.values()), source=source)},
        sections=(("Robustness to corruptions", _ROBUSTNESS + robustness_markdown(splits, recalibrated)),),
    )


def label_findings(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    images: NDArray[np.uint8],
    *,
    class_names: Sequence[str],
    source: Source,
) -> Findings:
    """Look for wrong labels and near-duplicates.

    Args:
        probabilities: out of fold, shape (images,) of class 1 or (images, classes).
        labels: shape (images,).
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        class_names: by label.
        source: what the figures are made from.

    Returns:
        Labels in doubt and near-duplicates.

    Raises:
        InputError: there are too many images to compare every pair.
    """
    found = audit_labels(probabilities, labels, images, class_names)
    return Findings(
        name="labels",
        metrics={
            "labels/issues": float(len(found.issues)),
            "labels/near_duplicates": float(len(found.duplicates)),
            "labels/contradictory_duplicates": float(sum(pair.contradictory for pair in found.duplicates)),
        },
        details=asdict(found),
        figures={
            "label_issues": figures.label_issue_sheet(found, images, source=source),
            "near_duplicates": figures.near_duplicate_sheet(found, images, source=source),
        },
        sections=(
            ("Labels of the training split", _LABELS + label_audit_markdown(found)),
            *((("Labels in doubt, one by one", doubtful_labels(found)),) if found.issues else ()),
            *((("Near-duplicates, pair by pair", duplicate_pairs(found)),) if found.duplicates else ()),
        ),
    )
