"""How far test differs from validation, class by class: in decisions, scores, embeddings and pixels.

The classes are compared one by one, since a different share of classes is no shift of how a class looks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.markdown import escape
from tasks.classification.log_odds import log_odds_of_truth
from tasks.classification.trust.calibration import calibrated_probabilities, decide
from tasks.shared.auc import auc_with_interval
from tasks.shared.domain_auc import domain_auc, unit_vectors
from tasks.shared.estimates import UNKNOWN, Estimate, format_estimate, share
from tasks.shared.markdown import table
from tasks.shared.metric_names import class_metric


@dataclass(frozen=True)
class SplitOutputs:
    """What is known of the images of one split.

    Attributes:
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        labels: shape (images,).
        probabilities: shape (images,) of class 1 or (images, classes).
        predicted: predicted label of each image, shape (images,).
        embeddings: shape (images, dimension).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.integer]
    probabilities: NDArray[np.floating]
    predicted: NDArray[np.integer]
    embeddings: NDArray[np.floating]


def split_outputs(
    split: str,
    arrays: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, NDArray[Any]],
    temperature: float,
    threshold: float | None,
) -> SplitOutputs:
    """Gather what is known of one split.

    Args:
        split: `val` or `test`.
        arrays: `<split>_images` and `<split>_labels`.
        outputs: `<split>_logits` and `<split>_embeddings`.
        temperature: divisor of the logits.
        threshold: probability of class 1 from which it is predicted; None for more than two classes.

    Returns:
        The split.
    """
    probabilities = calibrated_probabilities(outputs[f"{split}_logits"], temperature)
    return SplitOutputs(
        arrays[f"{split}_images"],
        arrays[f"{split}_labels"],
        probabilities,
        decide(probabilities, threshold),
        outputs[f"{split}_embeddings"],
    )


@dataclass(frozen=True)
class PixelChange:
    """One property of the pixels.

    Attributes:
        validation: mean over the images of the class, in grey levels.
        test: likewise.
        effect: difference in standard deviations between images (Cohen's d): 0.2 is small, 0.8 large.
    """

    validation: float
    test: float
    effect: float


@dataclass(frozen=True)
class ClassShift:
    """What changes for one class from validation to test.

    Attributes:
        name: of the class.
        validation_rate: share of its images that are predicted as it: recall; of class 0 of two, specificity.
        test_rate: likewise.
        rate_change: the difference, with the interval of Newcombe (1998).
        score_distance: largest distance between the cumulative distributions of the log-odds that the classifier
            gives to the class (Kolmogorov–Smirnov), in [0, 1].
        score_p: its p-value.
        score_order: probability that a test image scores higher than a validation image; 0.5 without a shift.
        embedding_distance: energy coefficient between the embeddings, in [0, 1] (Székely and Rizzo, 2013).
        embedding_chance: its mean where the images are dealt to the splits at random.
        embedding_p: share of such deals that give at least as much.
        domain_auc: how well logistic regression on the embeddings tells test from validation on images it was not
            fitted to; 0.5 without a shift.
        brightness: mean of the image's pixels.
        contrast: their standard deviation.
    """

    name: str
    validation_rate: Estimate
    test_rate: Estimate
    rate_change: Estimate
    score_distance: float
    score_p: float
    score_order: Estimate
    embedding_distance: float
    embedding_chance: float
    embedding_p: float
    domain_auc: Estimate
    brightness: PixelChange
    contrast: PixelChange


def measure_shift(
    validation: SplitOutputs,
    test: SplitOutputs,
    class_names: Sequence[str],
    *,
    permutations: int = 499,
    seed: int = 0,
) -> tuple[ClassShift, ...]:
    """Compare the splits.

    Args:
        validation: one split.
        test: the other.
        class_names: by label.
        permutations: random deals of the embeddings.
        seed: of the deals, of the folds and of the choice of images where a class has more than `domain_auc.MOST`.

    Returns:
        One comparison per class. A figure is NaN where a split has fewer than two images of the class.
    """
    return tuple(_of_class(validation, test, label, name, permutations, seed) for label, name in enumerate(class_names))


def energy_coefficient(
    first: NDArray[np.floating], second: NDArray[np.floating], *, permutations: int, seed: int
) -> tuple[float, float, float]:
    """Compare two samples of points, and test whether they come from one distribution.

    The energy distance E = 2 E|X − Y| − E|X − X'| − E|Y − Y'| is 0 just where the distributions are the same; divided
    by 2 E|X − Y| it lies in [0, 1] (Székely and Rizzo, 2013). Unlike the Fréchet distance it assumes no normal
    distribution, and unlike the maximum mean discrepancy it has no bandwidth to choose.

    Args:
        first: shape (points, dimension).
        second: shape (points, dimension).
        permutations: random deals of all points to two samples of these sizes.
        seed: of the deals.

    Returns:
        The coefficient, its mean over the deals, and the p-value: the share of deals, this one counted among them,
        with a coefficient at least as large.
    """
    from scipy.spatial.distance import cdist

    points = np.concatenate([first, second]).astype(np.float64)
    distances = cdist(points, points)
    in_first = np.zeros((permutations + 1, len(points)))
    in_first[0, : len(first)] = 1
    in_first[1:] = np.random.default_rng(seed).permuted(np.repeat(in_first[:1], permutations, axis=0), axis=1)
    sums = in_first @ distances  # of a point's distances to the first sample
    within_first = (sums * in_first).sum(axis=1)
    between = sums.sum(axis=1) - within_first
    within_second = distances.sum() - within_first - 2 * between
    twice_between = 2 * between / (len(first) * len(second))
    energy = twice_between - within_first / len(first) ** 2 - within_second / len(second) ** 2
    coefficients = np.divide(energy, twice_between, out=np.zeros_like(energy), where=twice_between > 0)
    p = (coefficients >= coefficients[0] - 1e-12).mean()
    return float(coefficients[0]), float(coefficients[1:].mean()), float(p)


def shift_metrics(shifts: Sequence[ClassShift]) -> dict[str, float]:
    """Sum the report up for the tracker.

    Args:
        shifts: one per class.

    Returns:
        `shift/rate_change_<class>`, test minus validation of the share that is classified correctly;
        `shift/domain_auc_<class>`, how well the splits are told apart by their embeddings; and
        `shift/embedding_distance_<class>`.
    """
    metrics = {}
    for shift in shifts:
        metrics[class_metric("shift/rate_change", shift.name)] = shift.rate_change.value
        metrics[class_metric("shift/domain_auc", shift.name)] = shift.domain_auc.value
        metrics[class_metric("shift/embedding_distance", shift.name)] = shift.embedding_distance
    return metrics


def shift_markdown(shifts: Sequence[ClassShift]) -> str:
    """Write the comparison as tables and a sentence per class.

    Args:
        shifts: one per class.

    Returns:
        Markdown without a heading.
    """
    decisions = [
        (s.name, format_estimate(s.validation_rate), format_estimate(s.test_rate), _signed(s.rate_change))
        for s in shifts
    ]
    distances = [
        (
            s.name, f"{s.score_distance:.3f} (p {_p(s.score_p)})", format_estimate(s.score_order),
            f"{s.embedding_distance:.3f} (p {_p(s.embedding_p)})", s.embedding_chance, format_estimate(s.domain_auc),
        )
        for s in shifts
    ]  # fmt: skip
    pixels = [
        (s.name, what, f"{change.validation:.1f}", f"{change.test:.1f}", f"{change.effect:+.2f}")
        for s in shifts
        for what, change in (("brightness", s.brightness), ("contrast", s.contrast))
    ]
    return "\n".join(
        [
            table(("class", "classified correctly, validation", "classified correctly, test", "difference"), decisions),
            table(
                (
                    "class", "distance of the scores (KS)", "test scores higher", "distance of the embeddings",
                    "the same by chance", "test told from validation (AUC)",
                ),
                distances,
            ),
            table(("class", "pixels", "validation", "test", "effect (Cohen's d)"), pixels),
            "".join(f"- {_sentence(shift)}\n" for shift in shifts),
            "Scores are the log-odds of the true class. “Test scores higher” is the probability that a test image "
            "scores higher than a validation image of its class, .5 without a shift. The distance of the embeddings, "
            "each of length 1, is the energy coefficient, 0 to 1. The p-values test one class each and are not "
            "corrected for their number.\n",
        ]
    )  # fmt: skip


def _of_class(
    validation: SplitOutputs, test: SplitOutputs, label: int, name: str, permutations: int, seed: int
) -> ClassShift:
    from scipy.stats import ks_2samp

    before, after = validation.labels == label, test.labels == label
    scores = log_odds_of_truth(validation.probabilities, validation.labels)[before]
    test_scores = log_odds_of_truth(test.probabilities, test.labels)[after]
    rate, test_rate = share(validation.predicted[before] == label), share(test.predicted[after] == label)
    distance, chance, p = float("nan"), float("nan"), float("nan")
    score_distance, score_p, domain = float("nan"), float("nan"), UNKNOWN
    if min(before.sum(), after.sum()) > 1:
        compared = ks_2samp(scores, test_scores)
        score_distance, score_p = float(compared.statistic), float(compared.pvalue)
        first, second = (
            unit_vectors(split.embeddings, own, seed=seed) for split, own in ((validation, before), (test, after))
        )
        distance, chance, p = energy_coefficient(first, second, permutations=permutations, seed=seed)
        domain = domain_auc(first, second, seed=seed)
    images, test_images = validation.images[before], test.images[after]
    return ClassShift(
        name=name,
        validation_rate=rate,
        test_rate=test_rate,
        rate_change=_difference(test_rate, rate),
        score_distance=score_distance,
        score_p=score_p,
        score_order=auc_with_interval(scores, test_scores),
        embedding_distance=distance,
        embedding_chance=chance,
        embedding_p=p,
        domain_auc=domain,
        brightness=_pixel_change(_of_each(images, np.mean), _of_each(test_images, np.mean)),
        contrast=_pixel_change(_of_each(images, np.std), _of_each(test_images, np.std)),
    )


def _difference(after: Estimate, before: Estimate) -> Estimate:
    from statsmodels.stats.proportion import confint_proportions_2indep

    if not after.n or not before.n:
        return UNKNOWN
    counts = round(after.value * after.n), after.n, round(before.value * before.n), before.n
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
    return Estimate(after.value - before.value, float(low), float(high), after.n + before.n)


def _of_each(images: NDArray[np.uint8], statistic: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
    return statistic(images, axis=tuple(range(1, images.ndim)))


def _pixel_change(before: NDArray[np.float64], after: NDArray[np.float64]) -> PixelChange:
    if min(len(before), len(after)) < 2:
        return PixelChange(float("nan"), float("nan"), float("nan"))
    freedom = len(before) + len(after) - 2
    variance = ((len(before) - 1) * before.var(ddof=1) + (len(after) - 1) * after.var(ddof=1)) / freedom
    difference = float(after.mean() - before.mean())
    effect = difference / float(np.sqrt(variance)) if variance > 0 else float("nan")
    return PixelChange(float(before.mean()), float(after.mean()), effect)


def _sentence(shift: ClassShift) -> str:
    change = shift.rate_change
    if np.isnan(change.value) or np.isnan(shift.embedding_p):
        return f"**{escape(shift.name)}**: too few images to compare."
    told = "does not change beyond chance"
    if change.low > 0 or change.high < 0:
        moves = "falls" if change.value < 0 else "rises"
        told = f"{moves} from {shift.validation_rate.value:.1%} to {shift.test_rate.value:.1%}"
    far = "no farther" if shift.embedding_p > 0.05 else "farther"
    return (
        f"**{escape(shift.name)}**: the share that is classified correctly {told}; the embeddings of test lie {far} "
        f"from those of validation than chance explains (p {_p(shift.embedding_p)}) and are told from them with an AUC "
        f"of {format_estimate(shift.domain_auc)}."
    )


def _signed(rate: Estimate) -> str:
    return "–" if np.isnan(rate.value) else f"{rate.value:+.3f} ({rate.low:+.3f} – {rate.high:+.3f})"


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}"
