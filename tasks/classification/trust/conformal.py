"""Prediction sets that promise a coverage in every class, and whether the promise holds on test.

A class-conditional (Mondrian) conformal classifier puts a class into an image's set where the image is no stranger than
a share of 1 − level of the validation images of that class. If the image is drawn like them, its set then holds its
true class with at least the probability `level`, class by class, whatever the classifier (Vovk, Gammerman and Shafer,
2005; Vovk, 2012). A shift between validation and test breaks just this condition, so the coverage is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.classification.trust.calibration import by_class
from tasks.shared.estimates import Estimate, format_estimate, share
from tasks.shared.markdown import table
from tasks.shared.metric_names import class_metric

LEVELS = (0.90, 0.95)
FOLDS = 10
_ROUNDING = 1e-9
_NOTHING = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Coverage:
    """What the sets of one class's images are like.

    Attributes:
        name: of the class; its images are those that truly belong to it.
        level: coverage that is promised.
        coverage: share of the images whose set holds the true class.
        mean_size: classes per set, on average.
        empty: share of sets without a class: the image is like no class.
        single: share of sets of one class.
        several: share of larger ones: the classifier cannot tell.
        single_accuracy: share of right ones among the sets of one class.
        expected: range that holds the coverage of an unshifted split 95 times in 100; NaN for validation.
    """

    name: str
    level: float
    coverage: Estimate
    mean_size: float
    empty: float
    single: float
    several: float
    single_accuracy: Estimate
    expected: tuple[float, float]

    @property
    def broken(self) -> bool:
        """Whether coverage is lower than bad luck in drawing the validation and test images explains."""
        return self.coverage.value < self.expected[0]


@dataclass(frozen=True)
class ConformalReport:
    """Coverage on both splits.

    Attributes:
        calibration_images: validation images by class name.
        validation: one per level and class; sets of a tenth of validation are made from the other nine.
        test: one per level and class; sets are made from the whole of validation.
    """

    calibration_images: dict[str, int]
    validation: tuple[Coverage, ...]
    test: tuple[Coverage, ...]


def p_values(
    calibration: NDArray[np.floating], labels: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Say how ordinary each image would be as a member of each class.

    Args:
        calibration: probabilities of the calibration images, shape (images,) of class 1 or (images, classes).
        labels: their labels, shape (images,).
        probabilities: of the images in question, in the same layout.

    Returns:
        Shape (images in question, classes): the share of the class's calibration images, the image counted among them,
        that are at least as strange, strangeness being 1 − the probability of the class (hinge). 1 for a class without
        calibration images. Without random tie-breaking: the same image always has the same set.
    """
    from crepes import ConformalClassifier
    from crepes.extras import hinge

    calibration, probabilities = by_class(calibration), by_class(probabilities)
    classes = np.arange(calibration.shape[1])
    fitted = ConformalClassifier().fit(hinge(calibration, classes, labels), bins=labels)
    strangeness = hinge(probabilities)
    return np.column_stack(
        [fitted.predict_p(strangeness[:, c], bins=np.full(len(strangeness), c), smoothing=False) for c in classes]
    )


def prediction_sets(values: NDArray[np.floating], level: float) -> NDArray[np.bool_]:
    """Choose the classes of each set.

    Args:
        values: of `p_values`, shape (images, classes).
        level: coverage that is promised, in (0, 1).

    Returns:
        Whether the set holds the class, shape (images, classes).
    """
    return values > 1 - level + _ROUNDING


def cross_fitted_p_values(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, folds: int = FOLDS, seed: int = 0
) -> NDArray[np.float64]:
    """Compute the p-values of validation images from validation images other than themselves.

    Args:
        probabilities: shape (images,) of class 1 or (images, classes).
        labels: shape (images,).
        folds: parts; the sets of each are made from the others. Fewer where there are fewer images.
        seed: of the random parts, which hold the classes in equal shares.

    Returns:
        As `p_values`.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    probabilities = by_class(probabilities)
    smallest = np.bincount(labels)[np.unique(labels)].min()
    # Too few images to have one of each class in each part: then any parts do.
    parts = StratifiedKFold if smallest >= folds else KFold
    splitter = parts(min(folds, len(labels)), shuffle=True, random_state=seed)
    values = np.empty(probabilities.shape)
    for others, held_out in splitter.split(probabilities, labels):
        values[held_out] = p_values(probabilities[others], labels[others], probabilities[held_out])
    return values


def expected_coverage(calibration_images: int, images: int, level: float) -> tuple[float, float]:
    """Compute how far the coverage of an unshifted split may lie from the level by luck.

    Both draws are counted: of the calibration images, which leaves the true coverage a beta distribution around the
    level, and of the test images (Vovk, 2012; Angelopoulos and Bates, 2021, section 3.2).

    Args:
        calibration_images: of the class.
        images: of the class in the split.
        level: coverage that is promised, in (0, 1).

    Returns:
        Bounds between which the share of covered images lies with a probability of 95 %; (1, 1) where there are so few
        calibration images that the class is in every set.
    """
    from scipy.stats import betabinom

    strangest = int((1 - level) * (calibration_images + 1) + _ROUNDING)  # ranks that a set leaves out
    if strangest == 0 or images == 0:
        return 1.0, 1.0
    low, high = betabinom(images, calibration_images + 1 - strangest, strangest).ppf([0.025, 0.975]) / images
    return float(low), float(high)


def evaluate_conformal(
    validation: NDArray[np.floating],
    validation_labels: NDArray[np.integer],
    test: NDArray[np.floating],
    test_labels: NDArray[np.integer],
    class_names: Sequence[str],
    *,
    levels: Sequence[float] = LEVELS,
    seed: int = 0,
) -> ConformalReport:
    """Calibrate on validation and measure, class by class.

    Args:
        validation: probabilities, shape (images,) of class 1 or (images, classes).
        validation_labels: shape (images,).
        test: probabilities, in the same layout.
        test_labels: shape (images,).
        class_names: by label.
        levels: coverages to promise.
        seed: of the parts of validation.

    Returns:
        The coverage of both splits.
    """
    counts = np.bincount(validation_labels, minlength=len(class_names))
    crossed = cross_fitted_p_values(validation, validation_labels, seed=seed)
    values = p_values(validation, validation_labels, test)
    on_validation, on_test = [], []
    for level in levels:
        for label, name in enumerate(class_names):
            own, of_test = validation_labels == label, test_labels == label
            expected = expected_coverage(int(counts[label]), int(of_test.sum()), level)
            on_validation.append(coverage_of(name, level, prediction_sets(crossed[own], level), label))
            on_test.append(coverage_of(name, level, prediction_sets(values[of_test], level), label, expected))
    return ConformalReport(dict(zip(class_names, counts.tolist(), strict=True)), tuple(on_validation), tuple(on_test))


def coverage_of(
    name: str, level: float, sets: NDArray[np.bool_], label: int, expected: tuple[float, float] = _NOTHING
) -> Coverage:
    """Describe the sets of one class's images.

    Args:
        name: of the class.
        level: coverage that is promised.
        sets: of `prediction_sets`, of images that truly belong to the class, shape (images, classes).
        label: of the class.
        expected: as in `Coverage`.

    Returns:
        The description; NaN where there are no images.
    """
    sizes, covered = sets.sum(axis=1), sets[:, label]
    return Coverage(
        name=name,
        level=level,
        coverage=share(covered),
        mean_size=float(sizes.mean()) if len(sets) else float("nan"),
        empty=share(sizes == 0).value,
        single=share(sizes == 1).value,
        several=share(sizes > 1).value,
        single_accuracy=share(covered[sizes == 1]),
        expected=expected,
    )


def conformal_metrics(report: ConformalReport) -> dict[str, float]:
    """Sum the report up for the tracker.

    Args:
        report: the coverage on both splits.

    Returns:
        `conformal/coverage_90_<class>` and the like: share of test images whose set holds the true class.
    """
    return {
        class_metric(f"conformal/coverage_{row.level:.0%}"[:-1], row.name): row.coverage.value for row in report.test
    }


def conformal_markdown(report: ConformalReport) -> str:
    """Write the report as tables and sentences.

    Args:
        report: the report.

    Returns:
        Markdown without a heading.
    """
    header = (
        "level", "class", "coverage on validation", "coverage on test", "expected unshifted", "mean size", "empty",
        "one class", "more", "one class: correct",
    )  # fmt: skip
    kept = [row for row in report.test if not row.broken]
    sentences = [_broken_sentence(row, report) for row in report.test if row.broken]
    if not sentences:
        sentences = ["On test every class keeps its promise, as far as luck in drawing the images can be told."]
    elif kept:
        sentences.append(f"Kept: {', '.join(f'{row.name} at {row.level:.0%}' for row in kept)}.")
    useless = [
        f"{name} at {level:.0%} ({count} validation images)"
        for level in sorted({row.level for row in report.test})
        for name, count in report.calibration_images.items()
        if expected_coverage(count, 1, level) == (1.0, 1.0)
    ]
    if useless:
        sentences.append(f"Too few validation images to ever leave a class out: {', '.join(useless)}.")
    return "\n".join(
        [
            "Sets of classes that shall hold the true class of 90 or 95 in 100 images of every class, calibrated on "
            "validation (class-conditional conformal prediction).\n",
            table(header, map(_row, report.validation, report.test)),
            "".join(f"- {sentence}\n" for sentence in sentences),
            f"Coverage with its 95 % interval (Wilson); on validation, where nothing is shifted, by {FOLDS}-fold "
            "cross-fitting. “Expected unshifted” is where the coverage of a test split without any shift falls 95 "
            "times in 100, the luck of the validation images counted in; a coverage below it breaks the promise. The "
            "columns that follow are of the sets on test.\n",
        ]
    )


def _row(validation: Coverage, test: Coverage) -> tuple[object, ...]:
    low, high = test.expected
    return (
        f"{test.level:.0%}", test.name, format_estimate(validation.coverage), format_estimate(test.coverage),
        f"{low:.3f} – {high:.3f}", test.mean_size, f"{test.empty:.1%}", f"{test.single:.1%}", f"{test.several:.1%}",
        format_estimate(test.single_accuracy),
    )  # fmt: skip


def _broken_sentence(row: Coverage, report: ConformalReport) -> str:
    rate = row.coverage
    return (
        f"**The shift breaks the promise for {row.name} at {row.level:.0%}**: the set holds the true class of "
        f"{rate.value:.1%} of its test images (95 % interval {rate.low:.1%} to {rate.high:.1%}), below the "
        f"{row.expected[0]:.1%} that {report.calibration_images[row.name]} validation images would leave to luck."
    )
