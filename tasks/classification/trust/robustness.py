"""How many errors corrupted images bring, by kind and severity, as MedMNIST-C measures it (arXiv 2406.17536)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from models.classifier.corruptions import CORRUPTIONS, SEVERITIES
from tasks.classification.metrics import score
from tasks.classification.trust.calibration import (
    balanced_recalibration,
    calibrated_probabilities,
    decide,
    fit_temperature,
)
from tasks.shared.bootstrap import balanced_interval, balanced_mean
from tasks.shared.estimates import Estimate, format_estimate
from tasks.shared.markdown import table

SAMPLES = 1000
SEED = 0
ALEXNET_CLEAN = 0.100855
ALEXNET = {
    "pixelate": 0.221026, "jpeg_compression": 0.279829, "gaussian_noise": 0.441453, "speckle_noise": 0.345726,
    "impulse_noise": 0.458120, "shot_noise": 0.410684, "gaussian_blur": 0.273077, "brightness_up": 0.146496,
    "brightness_down": 0.278205, "contrast_up": 0.095299, "contrast_down": 0.237436, "gamma_corr_up": 0.096068,
    "gamma_corr_down": 0.166410,
}  # fmt: skip
"""Balanced errors of the paper's AlexNet on 224 pixels, means of the severities (from the package `medmnistc`)."""


@dataclass(frozen=True)
class SplitRobustness:
    """Errors of one split.

    Attributes:
        split: `val` or `test`.
        images: how many were corrupted.
        clean: balanced error, 1 − balanced accuracy, of the same images as they are.
        errors: balanced error by kind, one per severity.
        mean: of all kinds and severities, with a bootstrap interval over the images.
    """

    split: str
    images: int
    clean: float
    errors: dict[str, tuple[float, ...]]
    mean: Estimate

    def of_kind(self, kind: str) -> float:
        """Return the mean balanced error of a kind over its severities."""
        return float(np.mean(self.errors[kind]))


def measure_robustness(
    split: str,
    clean: NDArray[np.floating],
    corrupted: NDArray[np.floating],
    labels: NDArray[np.integer],
    threshold: float,
) -> SplitRobustness:
    """Count the errors of one split.

    Args:
        split: its name.
        clean: probabilities of class 1 of two, shape (images,).
        corrupted: those of the corrupted images, shape (kinds, severities, images).
        labels: 0 or 1, shape (images,).
        threshold: probability from which class 1 is predicted, the same for all.

    Returns:
        The balanced errors.
    """
    wrong = (decide(corrupted, threshold) != labels).astype(np.float64)
    by_kind = [tuple(balanced_mean(of_severity, labels) for of_severity in of_kind) for of_kind in wrong]
    of_image = wrong.mean(axis=(0, 1))
    low, high = balanced_interval(of_image, labels, SAMPLES, SEED)
    return SplitRobustness(
        split=split,
        images=len(labels),
        clean=balanced_mean((decide(clean, threshold) != labels).astype(np.float64), labels),
        errors=dict(zip(CORRUPTIONS, by_kind, strict=True)),
        mean=Estimate(balanced_mean(of_image, labels), low, high, len(labels)),
    )


class RelativeErrors(NamedTuple):
    """Errors beside those of the paper's AlexNet, by kind.

    Attributes:
        balanced: BE, the mean error of a kind over that of AlexNet.
        relative: rBE, what a kind adds to the clean error, over what it adds to AlexNet's.
    """

    balanced: dict[str, float]
    relative: dict[str, float]


def relative_errors(test: SplitRobustness) -> RelativeErrors:
    """Set the errors on test beside those of AlexNet, by the paper's definitions.

    Args:
        test: errors on the test split.

    Returns:
        BE and rBE of every kind; the paper's overall figures are their means.
    """
    means = {kind: test.of_kind(kind) for kind in test.errors}
    return RelativeErrors(
        {kind: mean / ALEXNET[kind] for kind, mean in means.items()},
        {kind: (mean - test.clean) / (ALEXNET[kind] - ALEXNET_CLEAN) for kind, mean in means.items()},
    )


@dataclass(frozen=True)
class Recalibration:
    """The calibration of the clean test images by one way to fit it.

    Attributes:
        name: how it was fitted.
        slope: factor of the log-odds as they leave the network; of a temperature its inverse.
        bias: what is added to them.
        ece: expected calibration error on test.
        brier: Brier score on test.
    """

    name: str
    slope: float
    bias: float
    ece: float
    brier: float


def recalibrations(
    temperature: float,
    corrupted_logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    test_logits: NDArray[np.floating],
    test_labels: NDArray[np.integer],
) -> tuple[Recalibration, ...]:
    """Fit the calibration to the corrupted copies of validation, and measure it on the test images as they are.

    Args:
        temperature: the one in use, fitted to validation.
        corrupted_logits: log-odds of the corrupted validation images, shape (kinds, severities, images).
        labels: 0 or 1, of these images, shape (images,).
        test_logits: shape (test images,).
        test_labels: shape (test images,).

    Returns:
        The one in use first.
    """
    logits, repeated = corrupted_logits.reshape(-1), np.tile(labels, corrupted_logits[..., 0].size)
    slope, bias = balanced_recalibration(calibrated_probabilities(logits, 1.0), repeated)
    ways = (
        ("temperature, on validation: in use", 1 / temperature, 0.0),
        ("temperature, on corrupted validation", 1 / fit_temperature(logits, repeated), 0.0),
        ("class-balanced logistic regression, on corrupted validation", slope, bias),
    )
    found = []
    for name, factor, shift in ways:
        scores = score(expit(factor * np.asarray(test_logits, np.float64) + shift), test_labels, 0.5)
        found.append(Recalibration(name, factor, shift, scores["ece"], scores["brier"]))
    return tuple(found)


def robustness_metrics(splits: Mapping[str, SplitRobustness]) -> dict[str, float]:
    """Sum the report up for the tracker.

    Args:
        splits: errors of `val` and `test`.

    Returns:
        `robustness/<split>/balanced_error` over all kinds and severities, with the bounds of its interval on test,
        `robustness/<split>/clean_balanced_error` of the same images as they are, `robustness/<split>/<kind>`, and, as
        the paper defines them against its AlexNet, `robustness/test/be` and `robustness/test/rbe`.
    """
    metrics = {}
    for name, split in splits.items():
        metrics[f"robustness/{name}/balanced_error"] = split.mean.value
        metrics[f"robustness/{name}/clean_balanced_error"] = split.clean
        metrics |= {f"robustness/{name}/{kind}": split.of_kind(kind) for kind in split.errors}
    test = splits["test"]
    metrics["robustness/test/balanced_error_ci_low"] = test.mean.low
    metrics["robustness/test/balanced_error_ci_high"] = test.mean.high
    balanced, relative = relative_errors(test)
    metrics["robustness/test/be"] = float(np.mean(list(balanced.values())))
    metrics["robustness/test/rbe"] = float(np.mean(list(relative.values())))
    return metrics


def robustness_markdown(splits: Mapping[str, SplitRobustness], recalibrated: Sequence[Recalibration]) -> str:
    """Write the report as tables and sentences.

    Args:
        splits: errors of `val` and `test`.
        recalibrated: of `recalibrations`.

    Returns:
        Markdown without a heading.
    """
    validation, test = splits["val"], splits["test"]
    balanced, relative = relative_errors(test)
    rows: list[tuple[object, ...]] = [
        (
            kind.replace("_", " "), CORRUPTIONS[kind].family, validation.of_kind(kind), test.of_kind(kind),
            f"{test.of_kind(kind) - test.clean:+.3f}", ALEXNET[kind], balanced[kind], relative[kind],
        )
        for kind in test.errors
    ]  # fmt: skip
    mean = np.mean([list(values.values()) for values in (ALEXNET, balanced, relative)], axis=1).tolist()
    rows.append(("mean", "", validation.mean.value, test.mean.value, f"{test.mean.value - test.clean:+.3f}", *mean))
    rows.append(("none: as they are", "", validation.clean, test.clean, "", ALEXNET_CLEAN, "", ""))
    header = ("corruption", "family", "validation", "test", "test, added", "AlexNet, 224 px", "BE", "rBE")
    worst = max(test.errors, key=test.of_kind).replace("_", " ")
    calibrations = [(each.name, each.slope, each.bias, each.ece, each.brier) for each in recalibrated]
    return "\n".join(
        [
            f"{len(test.errors)} kinds of corruption (MedMNIST-C) at {len(SEVERITIES)} severities, "
            f"{validation.images} validation and {test.images} test images each: balanced error, 1 − balanced "
            "accuracy, at the same operating point, mean of the severities.\n",
            table(header, rows),
            f"The mean error on test is {format_estimate(test.mean)} (bootstrap over the images), {test.clean:.3f} "
            f"where nothing is corrupted; the worst kind is {worst}. Nothing was chosen by these figures.\n",
            "BE and rBE are the paper's: the error, and what a corruption adds to the clean error, each divided by "
            "that of its AlexNet, which saw 224 pixels. The parameters are those of 224 pixels too, and harder on "
            "smaller images as far as they blur or coarsen. AlexNet gains by contrast up and gamma up, so that their "
            "rBE divides by a small negative number, and its mean says little.\n",
            "What a calibration of the corrupted validation images would do for the test images as they are:\n",
            table(("probabilities calibrated by", "slope", "bias", "test ECE", "test Brier score"), calibrations),
        ]
    )
