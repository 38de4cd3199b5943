"""The nearest training images as evidence for or against the class that the classifier predicts.

Where the neighbours of an image belong to another class than the predicted one, the prediction may be wrong. The
support of a prediction is the weight of the neighbours of its class, with the weights of the soft nearest-neighbour
classifier of Wu et al. ("Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018). What it
is worth is measured by how well it finds the classifier's errors, beside the classifier's own confidence and together
with it.

Nothing is chosen on the images that are scored. The temperature is the paper's. The number of neighbours, of 10, 20, 50
and 100, found the errors of three classifiers on the validation images of PneumoniaMNIST best. The combination is the
product of confidence and support, which did as well there as the mean of their ranks and needs no image but the one in
question.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.shared.auc import auc_of_counts, auc_with_interval, tied_counts
from tasks.shared.bootstrap import interval, resample_counts
from tasks.shared.estimates import UNKNOWN, Estimate, format_estimate
from tasks.shared.markdown import table
from tasks.shared.risk_coverage import area_under_risk

NEIGHBOURS = 100
TEMPERATURE = 0.07

CONFIDENCE, SUPPORT, BOTH = "confidence", "neighbours", "both"
SIGNS = {
    CONFIDENCE: "confidence of the classifier",
    SUPPORT: "support of the nearest training images",
    BOTH: "product of both",
}


@dataclass(frozen=True)
class ErrorDetection:
    """How well some signs find the classifier's errors.

    Attributes:
        wrong: which images are misclassified, shape (images,).
        signs: by key of `SIGNS`, values that should be low for errors, each of shape (images,).
        areas: by key of `SIGNS`, the probability that an error has a lower value than a correct prediction (AUROC,
            ties count half, .5 is chance), with its bootstrap interval; `UNKNOWN` where there are no errors or
            nothing else.
        gains: by key of `SIGNS` but the confidence, the difference of its area from that of the confidence, with its
            interval from the same bootstrap samples (paired); `UNKNOWN` as in `areas`.
        risks: by key of `SIGNS`, the mean share of errors among the n images of the highest values, n = 1 … images
            (area under the risk–coverage curve; AURC); lower is better.
    """

    wrong: NDArray[np.bool_]
    signs: dict[str, NDArray[np.float64]]
    areas: dict[str, Estimate]
    gains: dict[str, Estimate]
    risks: dict[str, float]


def support(
    similarities: NDArray[np.floating],
    neighbour_labels: NDArray[np.integer],
    predicted: NDArray[np.integer],
    *,
    temperature: float = TEMPERATURE,
) -> NDArray[np.float64]:
    """Weigh the neighbours that have the class predicted for an image.

    Args:
        similarities: cosines of the nearest training images, shape (images, k).
        neighbour_labels: their classes, shape (images, k).
        predicted: class predicted for each image, shape (images,).
        temperature: the lower, the more the very nearest count; above 0.

    Returns:
        Share of the weight, softmax of cosine / temperature over the k neighbours, that lies on neighbours of the
        predicted class, in [0, 1], shape (images,).
    """
    from scipy.special import softmax

    weights = softmax(np.asarray(similarities, np.float64) / temperature, axis=1)
    agrees = neighbour_labels == predicted[:, None]
    for_it, against = (weights * agrees).sum(axis=1), (weights * ~agrees).sum(axis=1)
    # The weights add up to 1 only up to rounding, which would order the many images that all neighbours support.
    return np.asarray(for_it / (for_it + against))


def detect_errors(
    confidence: NDArray[np.floating],
    supports: NDArray[np.floating],
    wrong: NDArray[np.bool_],
    *,
    samples: int,
    seed: int,
) -> ErrorDetection:
    """Measure how well confidence, support and both find errors.

    Args:
        confidence: calibrated probability of the predicted class, in [0, 1], shape (images,).
        supports: of `support`, shape (images,).
        wrong: which images are misclassified, shape (images,).
        samples: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        The areas under the ROC curves, their differences, and the areas under the risk–coverage curves.
    """
    wrong = np.asarray(wrong, dtype=bool)
    sure, backed = np.asarray(confidence, np.float64), np.asarray(supports, np.float64)
    signs = {CONFIDENCE: sure, SUPPORT: backed, BOTH: sure * backed}
    gained = [name for name in signs if name != CONFIDENCE]
    risks = {name: area_under_risk(sign, ~wrong) for name, sign in signs.items()}
    if wrong.all() or not wrong.any():
        return ErrorDetection(wrong, signs, dict.fromkeys(signs, UNKNOWN), dict.fromkeys(gained, UNKNOWN), risks)
    values = {name: auc_with_interval(sign[wrong], sign[~wrong]).value for name, sign in signs.items()}
    counts = resample_counts(len(wrong), samples, seed)
    resampled = {name: auc_of_counts(*tied_counts(sign, ~wrong, counts)) for name, sign in signs.items()}
    return ErrorDetection(
        wrong=wrong,
        signs=signs,
        areas={name: Estimate(values[name], *interval(resampled[name]), len(wrong)) for name in signs},
        gains={
            name: Estimate(
                values[name] - values[CONFIDENCE], *interval(resampled[name] - resampled[CONFIDENCE]), len(wrong)
            )
            for name in gained
        },
        risks=risks,
    )


def evidence_metrics(detection: ErrorDetection) -> dict[str, float]:
    """Sum the detection up for the tracker.

    Args:
        detection: the areas.

    Returns:
        `evidence/errors`; `evidence/auroc_confidence`, `…_neighbours`, `…_both`, and `evidence/gain_neighbours` and
        `…_both` over the confidence, each also with `_ci_low` and `_ci_high`; `evidence/aurc_confidence`,
        `…_neighbours` and `…_both`. What is unknown is left out.
    """
    metrics = {"evidence/errors": float(detection.wrong.sum())}
    metrics |= {f"evidence/aurc_{name}": risk for name, risk in detection.risks.items()}
    rates = {f"auroc_{name}": rate for name, rate in detection.areas.items()}
    rates |= {f"gain_{name}": rate for name, rate in detection.gains.items()}
    for name, rate in rates.items():
        for ending, value in (("", rate.value), ("_ci_low", rate.low), ("_ci_high", rate.high)):
            if not np.isnan(value):
                metrics[f"evidence/{name}{ending}"] = value
    return metrics


def evidence_markdown(detection: ErrorDetection) -> str:
    """Write the detection as a table.

    Args:
        detection: the areas.

    Returns:
        Markdown without a heading.
    """
    errors, images = int(detection.wrong.sum()), len(detection.wrong)
    if not 0 < errors < images:
        return f"{errors} of {images} images are misclassified, so nothing can be told apart.\n"
    rows = [
        (
            SIGNS[name],
            format_estimate(area),
            format_estimate(detection.gains[name]) if name in detection.gains else "",
            f"{detection.risks[name]:.4f}",
        )
        for name, area in detection.areas.items()
    ]
    header = ("sign", "AUROC of finding errors (95 % interval)", "difference from the confidence (paired)", "AURC")
    least = area_under_risk(-detection.wrong.astype(np.float64), ~detection.wrong)
    return (
        f"{errors} of {images} images are misclassified.\n\n{table(header, rows)}\n"
        "AURC, the area under the risk–coverage curve, is the share of errors among the n images of the highest "
        f"values, averaged over n: {least:.4f} is the least that {errors} errors allow, {errors / images:.4f} what a "
        "random order gives.\n"
    )
