"""Where the classifier errs: how sure it was, and what the training images around the error are.

Two views of the same errors. By score: are they borderline or confident, and what would be gained by handing the least
sure images to a person? By neighbourhood: do the nearest training images belong to the wrong class, or is nothing near?
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.classification.log_odds import log_odds
from tasks.classification.trust.calibration import by_class, decide
from tasks.shared.auc import auc_with_interval
from tasks.shared.estimates import Estimate, format_estimate, share
from tasks.shared.markdown import table
from tasks.shared.risk_coverage import area_under_risk, risk_coverage

NEIGHBOURS = 10
DEFERRED = (0.0, 0.05, 0.10, 0.20, 0.30)
BORDERLINE, CONFIDENT = 0.75, 0.90
ISOLATED_QUANTILE = 0.95
KINDS = {
    "isolated": "its nearest training image is farther than for 95 % of the images that are classified correctly",
    "borderline": f"not isolated, and the classifier's confidence is below {BORDERLINE}",
    "looks like another class": f"confidence {BORDERLINE} or more, and at least half of its neighbours belong to the "
    "class that is wrongly predicted",
    "unlike its neighbours": f"confidence {BORDERLINE} or more, though most neighbours belong to another class than "
    "the predicted one",
}
SHOWN = 20


@dataclass(frozen=True)
class Neighbourhood:
    """What lies around each image, by the cosine distance of embeddings (1 − cosine, 0 to 2).

    Attributes:
        share_of_predicted: share of the nearest training images that belong to the predicted class, shape (images,).
        share_of_true: share that belongs to the true class, shape (images,).
        nearest: distance to the nearest training image, shape (images,).
    """

    share_of_predicted: NDArray[np.float64]
    share_of_true: NDArray[np.float64]
    nearest: NDArray[np.float64]


@dataclass(frozen=True)
class Deferral:
    """What is left when the least confident images are handed to a person.

    Attributes:
        deferred: share of the images that is handed on.
        accuracy: on the rest.
        errors: on the rest.
    """

    deferred: float
    accuracy: Estimate
    errors: int


@dataclass(frozen=True)
class Failure:
    """A misclassified image.

    Attributes:
        index: of the image.
        true: its label.
        predicted: predicted label.
        confidence: as `confidences`.
        share_of_predicted: as in `Neighbourhood`.
        share_of_true: as in `Neighbourhood`.
        nearest: as in `Neighbourhood`.
        kind: one of `KINDS`.
    """

    index: int
    true: int
    predicted: int
    confidence: float
    share_of_predicted: float
    share_of_true: float
    nearest: float
    kind: str


@dataclass(frozen=True)
class FailureAnalysis:
    """The errors of a classifier.

    Attributes:
        class_names: by label.
        images: number of images.
        risk: share of errors among the images, were only the n surest classified, for n = 1 … images.
        area_under_risk: mean of `risk` (AURC; Geifman and El-Yaniv, 2017); lower is better.
        area_at_best: the same, were every error less sure than every correct prediction.
        deferrals: accuracy after handing on the least sure.
        finders: by what is used to find errors, how well it tells them from correct predictions (AUROC).
        nearest_right: median distance to the nearest training image, of images that are classified correctly.
        nearest_wrong: likewise, of errors; NaN without errors.
        failures: the errors, the surest first.
    """

    class_names: tuple[str, ...]
    images: int
    risk: tuple[float, ...]
    area_under_risk: float
    area_at_best: float
    deferrals: tuple[Deferral, ...]
    finders: dict[str, Estimate]
    nearest_right: float
    nearest_wrong: float
    failures: tuple[Failure, ...]


def confidences(probabilities: NDArray[np.floating], threshold: float | None) -> NDArray[np.float64]:
    """Say how sure the classifier is of its predictions.

    Args:
        probabilities: shape (images,) of class 1 or (images, classes).
        threshold: probability of class 1 from which it is predicted; None where the likeliest class is.

    Returns:
        Shape (images,): the probability of the predicted class. With a threshold, log-odds are counted from the
        threshold's, so that an image right at it has .5 on either side.
    """
    if threshold is None:
        return by_class(probabilities).max(axis=1)
    distance = np.abs(log_odds(probabilities) - log_odds(threshold))
    return np.asarray(1 / (1 + np.exp(-distance)))


def neighbourhood(
    embeddings: NDArray[np.floating],
    predicted: NDArray[np.integer],
    labels: NDArray[np.integer],
    train_embeddings: NDArray[np.floating],
    train_labels: NDArray[np.integer],
    *,
    neighbours: int = NEIGHBOURS,
) -> Neighbourhood:
    """Look at the nearest training images.

    Args:
        embeddings: shape (images, dimension).
        predicted: predicted labels, shape (images,).
        labels: true ones, shape (images,).
        train_embeddings: shape (training images, dimension).
        train_labels: shape (training images,).
        neighbours: how many count; all training images where there are fewer.

    Returns:
        The neighbourhood of each image.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(neighbours, len(train_labels)), metric="cosine", algorithm="brute")
    distances, positions = search.fit(train_embeddings).kneighbors(embeddings)
    found = train_labels[positions]
    return Neighbourhood(
        (found == predicted[:, None]).mean(axis=1),
        (found == labels[:, None]).mean(axis=1),
        distances[:, 0].astype(np.float64),
    )


def analyse_failures(
    probabilities: NDArray[np.floating],
    threshold: float | None,
    labels: NDArray[np.integer],
    around: Neighbourhood,
    class_names: Sequence[str],
) -> FailureAnalysis:
    """Describe the errors.

    Args:
        probabilities: shape (images,) of class 1 or (images, classes).
        threshold: probability of class 1 from which it is predicted; None where the likeliest class is.
        labels: true ones, shape (images,).
        around: neighbourhood of each image.
        class_names: by label.

    Returns:
        The analysis.
    """
    predicted, confidence = decide(probabilities, threshold), confidences(probabilities, threshold)
    correct = predicted == labels
    kinds = _kinds(confidence, correct, around)
    wrong = np.flatnonzero(~correct)
    signs = {
        "confidence of the classifier": confidence,
        "neighbours of the predicted class": around.share_of_predicted,
        "nearness of the nearest training image": -around.nearest,
    }
    return FailureAnalysis(
        class_names=tuple(class_names),
        images=len(labels),
        risk=tuple(risk_coverage(confidence, correct).tolist()),
        area_under_risk=area_under_risk(confidence, correct),
        area_at_best=area_under_risk(correct.astype(np.float64), correct),
        deferrals=tuple(_deferral(confidence, correct, deferred) for deferred in DEFERRED),
        finders={name: auc_with_interval(values[~correct], values[correct]) for name, values in signs.items()},
        nearest_right=_median(around.nearest[correct]),
        nearest_wrong=_median(around.nearest[~correct]),
        failures=tuple(
            Failure(
                index=int(index),
                true=int(labels[index]),
                predicted=int(predicted[index]),
                confidence=float(confidence[index]),
                share_of_predicted=float(around.share_of_predicted[index]),
                share_of_true=float(around.share_of_true[index]),
                nearest=float(around.nearest[index]),
                kind=kinds[index],
            )
            for index in wrong[np.argsort(-confidence[wrong], kind="stable")]
        ),
    )


def failure_metrics(analysis: FailureAnalysis) -> dict[str, float]:
    """Sum the analysis up for the tracker.

    Args:
        analysis: the errors.

    Returns:
        `failures/count`, `failures/area_under_risk` and `failures/accuracy_without_10` and the like: accuracy when so
        many hundredths, the least sure, are handed on.
    """
    metrics = {"failures/count": float(len(analysis.failures)), "failures/area_under_risk": analysis.area_under_risk}
    for deferral in analysis.deferrals:
        if deferral.deferred > 0:
            metrics[f"failures/accuracy_without_{round(100 * deferral.deferred)}"] = deferral.accuracy.value
    return metrics


def failure_markdown(analysis: FailureAnalysis) -> str:
    """Write the analysis as tables.

    Args:
        analysis: the analysis.

    Returns:
        Markdown without a heading.
    """
    errors, names = len(analysis.failures), analysis.class_names
    if not errors:
        return f"No errors among {analysis.images} images.\n"
    deferrals = [(f"{d.deferred:.0%}", d.accuracy.n, format_estimate(d.accuracy), d.errors) for d in analysis.deferrals]
    sure = sum(failure.confidence >= CONFIDENT for failure in analysis.failures)
    unsure = sum(failure.confidence < BORDERLINE for failure in analysis.failures)
    kinds = [
        (
            kind,
            *(sum(f.kind == kind and f.true == label for f in analysis.failures) for label in range(len(names))),
            why,
        )
        for kind, why in KINDS.items()
    ]
    return "\n".join(
        [
            f"{errors} of {analysis.images} images are misclassified: {sure} with a confidence of {CONFIDENT} "
            f"or more, {unsure} below {BORDERLINE}.\n",
            "If the least sure images are handed to a person:\n",
            table(("handed on", "images left", "accuracy on them (95 % interval)", "errors left"), deferrals),
            f"Area under the risk–coverage curve: {analysis.area_under_risk:.4f}; {analysis.area_at_best:.4f} is the "
            f"least that {errors} errors allow, {errors / analysis.images:.4f} what a random order gives.\n",
            "What finds errors:\n",
            table(
                ("sign", "AUROC (95 % interval)"),
                [(name, format_estimate(rate)) for name, rate in analysis.finders.items()],
            ),
            "Median cosine distance to the nearest training image: "
            f"{analysis.nearest_right:.4f} for correct predictions, {analysis.nearest_wrong:.4f} for errors.\n",
            "Kinds of errors, by true class:\n",
            table(("kind", *names, "which means"), kinds),
        ]
    )


def surest_errors(analysis: FailureAnalysis) -> str:
    """List the errors that the classifier is surest of, at most 20.

    Args:
        analysis: the analysis.

    Returns:
        Markdown without a heading.
    """
    names = analysis.class_names
    listed = [
        (
            f"#{f.index}", names[f.true], names[f.predicted], f.confidence, f"{f.share_of_predicted:.0%}",
            f"{f.share_of_true:.0%}", f"{f.nearest:.4f}", f.kind,
        )
        for f in analysis.failures[:SHOWN]
    ]  # fmt: skip
    header = (
        "image", "true", "predicted", "confidence", "neighbours: predicted", "neighbours: true", "nearest", "kind",
    )  # fmt: skip
    return (
        f"The surest {len(listed)} of {len(analysis.failures)} errors; neighbours are the nearest training images.\n\n"
        + table(header, listed)
    )


def _kinds(confidence: NDArray[np.float64], correct: NDArray[np.bool_], around: Neighbourhood) -> list[str]:
    far = np.quantile(around.nearest[correct], ISOLATED_QUANTILE) if correct.any() else np.inf
    conditions = [around.nearest > far, confidence < BORDERLINE, around.share_of_predicted >= 0.5]
    *kinds, otherwise = KINDS  # in the order of the conditions: the first that holds decides
    return [str(kind) for kind in np.select(conditions, kinds, otherwise)]


def _deferral(confidence: NDArray[np.float64], correct: NDArray[np.bool_], deferred: float) -> Deferral:
    kept = correct[np.argsort(-confidence, kind="stable")[: round(len(correct) * (1 - deferred))]]
    return Deferral(deferred, share(kept), int((~kept).sum()))


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else float("nan")
