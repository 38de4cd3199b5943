"""Conformal sets whose calibration counts on a shift, beside those of plain validation.

Neither way needs a label of test. The stand-in is all copies that MedMNIST-C makes of validation, so that there is no
kind and no severity to choose; the domain classifier is the one that measures the shift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.classification.trust.calibration import by_class
from tasks.classification.trust.conformal import LEVELS, Coverage, coverage_of, p_values, prediction_sets
from tasks.classification.trust.shift import SplitOutputs
from tasks.shared.domain_auc import FOLDS, domain_log_odds
from tasks.shared.estimates import format_estimate
from tasks.shared.markdown import table
from tasks.shared.metric_names import class_metric


class StandIn(NamedTuple):
    """Images that stand in for the shift.

    Attributes:
        probabilities: calibrated, shape (images,) of class 1 or (images, classes).
        labels: shape (images,).
    """

    probabilities: NDArray[np.floating]
    labels: NDArray[np.integer]


@dataclass(frozen=True)
class ShiftedConformal:
    """Sets on test from one calibration.

    Attributes:
        name: `validation`, `corrupted` or `weighted`.
        calibrated_on: in words.
        coverage: one per level and class.
        mean_size: classes per set over all test images, by level.
    """

    name: str
    calibrated_on: str
    coverage: tuple[Coverage, ...]
    mean_size: dict[float, float]


def conformal_under_shift(
    validation: SplitOutputs,
    test: SplitOutputs,
    stand_in: StandIn | None,
    class_names: Sequence[str],
    *,
    levels: Sequence[float] = LEVELS,
    seed: int = 0,
) -> tuple[ShiftedConformal, ...]:
    """Make the sets of test from each calibration and measure their coverage.

    Args:
        validation: what plain sets are calibrated on.
        test: whose labels are only looked at to measure.
        stand_in: corrupted copies of validation images; None where there are none.
        class_names: by label.
        levels: coverages to promise.
        seed: of the domain classifier's folds.

    Returns:
        Plain validation first; the stand-in; and validation weighted by a domain classifier on the embeddings
        (Tibshirani et al., 2019), where there are images enough to fit it.
    """
    plain = validation.probabilities, validation.labels
    found = [("validation", "validation, as above", p_values(*plain, test.probabilities))]
    if stand_in is not None:
        values = p_values(stand_in.probabilities, stand_in.labels, test.probabilities)
        found.append(("corrupted", "corrupted copies of validation", values))
    if min(len(validation.labels), len(test.labels)) >= FOLDS:
        weights = map(np.exp, domain_log_odds(_unit(validation.embeddings), _unit(test.embeddings), seed=seed))
        values = weighted_p_values(*plain, test.probabilities, *weights)
        found.append(("weighted", "validation, weighted to be like test", values))
    return tuple(_measured(name, words, values, test.labels, class_names, levels) for name, words, values in found)


def weighted_p_values(
    calibration: NDArray[np.floating],
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    weights: NDArray[np.floating],
    own_weights: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Say how ordinary each image would be as a member of each class of a shifted distribution.

    If test images differ from calibration images of their class by the ratio of densities that the weights are, the
    sets of `prediction_sets` keep their promise (Tibshirani, Barber, Candès and Ramdas, "Conformal prediction under
    covariate shift", 2019). With equal weights they are those of `conformal.p_values`.

    Args:
        calibration: probabilities of the calibration images, shape (images,) of class 1 or (images, classes).
        labels: their labels, shape (images,).
        probabilities: of the images in question, in the same layout.
        weights: of the calibration images, how much likelier they are in question than in calibration, shape (images,).
        own_weights: of the images in question, likewise.

    Returns:
        Shape (images in question, classes): the weight of the class's calibration images that are at least as strange,
        the image counted among them, as a share of all their weight.
    """
    columns, own = by_class(calibration), by_class(probabilities)
    values = np.empty(own.shape)
    for label in range(own.shape[1]):
        of_class = labels == label
        order = np.argsort(columns[of_class, label])  # the strangest first
        ordered = columns[of_class, label][order]
        summed = np.concatenate([[0.0], np.cumsum(weights[of_class][order])])
        stranger = summed[np.searchsorted(ordered, own[:, label], side="right")]
        values[:, label] = (stranger + own_weights) / (summed[-1] + own_weights)
    return values


def shifted_conformal_metrics(found: Sequence[ShiftedConformal]) -> dict[str, float]:
    """Sum the calibrations up for the tracker.

    Args:
        found: of `conformal_under_shift`.

    Returns:
        `conformal/corrupted_coverage_90_<class>`, `conformal/corrupted_mean_size_90` and the like; of plain validation
        only the mean size, `conformal/mean_size_90`, since its coverage has names of its own.
    """
    metrics: dict[str, float] = {}
    for each in found:
        prefix = "conformal/" if each.name == "validation" else f"conformal/{each.name}_"
        metrics |= {f"{prefix}mean_size_{_percent(level)}": size for level, size in each.mean_size.items()}
        if each.name != "validation":
            metrics |= {
                class_metric(f"{prefix}coverage_{_percent(row.level)}", row.name): row.coverage.value
                for row in each.coverage
            }
    return metrics


def shifted_conformal_markdown(found: Sequence[ShiftedConformal]) -> str:
    """Write the calibrations as a table and what they are.

    Args:
        found: of `conformal_under_shift`.

    Returns:
        Markdown without a heading.
    """
    rows = [
        (
            f"{row.level:.0%}", each.calibrated_on, row.name, format_estimate(row.coverage), row.mean_size,
            f"{row.empty:.1%}", each.mean_size[row.level],
        )
        for level in found[0].mean_size
        for each in found
        for row in each.coverage
        if row.level == level
    ]  # fmt: skip
    header = ("level", "calibrated on", "class", "coverage on test", "mean size", "empty", "mean size, all images")
    means = {
        "corrupted": "Corrupted copies are all that MedMNIST-C makes of validation images (13 kinds at five "
        "severities): a stand-in for a shift that nobody has seen, with no kind or severity chosen.",
        "weighted": "The weights are those of a linear classifier that tells test from validation by the embeddings. "
        "They use the test images, not their labels, all at once: a transductive figure, which a single new image "
        "could not have.",
    }
    told = [f"{means[each.name]}\n" for each in found if each.name in means]
    return "\n".join(
        ["**Sets that count on a shift**, beside the same from plain validation:\n", table(header, rows), *told]
    )


def _measured(
    name: str,
    words: str,
    values: NDArray[np.float64],
    labels: NDArray[np.integer],
    class_names: Sequence[str],
    levels: Sequence[float],
) -> ShiftedConformal:
    sets = {level: prediction_sets(values, level) for level in levels}
    rows = tuple(
        coverage_of(class_name, level, chosen[labels == label], label)
        for level, chosen in sets.items()
        for label, class_name in enumerate(class_names)
    )
    return ShiftedConformal(name, words, rows, {level: float(s.sum(axis=1).mean()) for level, s in sets.items()})


def _unit(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    vectors = np.asarray(embeddings, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _percent(level: float) -> str:
    return f"{level:.0%}"[:-1]
