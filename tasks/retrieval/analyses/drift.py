"""How far newly seen embeddings lie from those that the index holds, class by class.

The classes are compared one by one, since a different share of classes is no drift of how a class looks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.retrieval.vectors import LabelledVectors
from tasks.shared.domain_auc import FOLDS, domain_auc, unit_vectors
from tasks.shared.estimates import Estimate, format_estimate
from tasks.shared.markdown import table
from tasks.shared.metric_names import class_metric

DEALS = 39
"""Random deals behind a threshold: unchanged images pass the largest of 39 once in 40 times."""


@dataclass(frozen=True)
class ClassDrift:
    """What is new about one class.

    Attributes:
        name: of the class.
        domain_auc: how well logistic regression tells new embeddings from indexed ones it was not fitted to; 0.5
            where they cannot be told apart.
        reference_auc: the same for embeddings that are known to be alike.
        threshold: what `domain_auc` passes by chance once in `DEALS` + 1 times; None where it was not asked for, NaN
            where it is not known.
    """

    name: str
    domain_auc: Estimate
    reference_auc: Estimate
    threshold: float | None = None


def measure_drift(
    indexed: LabelledVectors,
    seen: LabelledVectors,
    reference: LabelledVectors,
    class_names: Sequence[str],
    *,
    calibrated: bool = False,
    seed: int = 0,
) -> tuple[ClassDrift, ...]:
    """Compare what the index holds with what is newly seen.

    Args:
        indexed: what is searched.
        seen: what is searched for.
        reference: images as they were when the index was built, which the encoder was not fitted to either. Where
            they too are told from the indexed ones, the fit of the encoder does it, and no drift.
        class_names: by label.
        calibrated: whether to take thresholds too, which takes `DEALS` times as long.
        seed: of the folds, of the deals, and of the choice of images where a class has more than are compared.

    Returns:
        One comparison per class; unknown where a split has fewer than `domain_auc.FOLDS` images of the class.
    """
    found = []
    for label, name in enumerate(class_names):
        held, new, alike = (
            unit_vectors(each.vectors, each.labels == label, seed=seed) for each in (indexed, seen, reference)
        )
        threshold = drift_threshold(held, new, alike, seed=seed) if calibrated else None
        found.append(ClassDrift(name, domain_auc(held, new, seed=seed), domain_auc(held, alike, seed=seed), threshold))
    return tuple(found)


def drift_threshold(
    held: NDArray[np.floating], new: NDArray[np.floating], alike: NDArray[np.floating], *, seed: int
) -> float:
    """Find what the AUC of new embeddings passes by chance, by a permutation test.

    If nothing has changed, the new images are like the reference, and which of both together are taken as new is
    arbitrary. So as many as there are new ones are dealt out of both at random, `DEALS` times, and told from the
    indexed ones. The AUC of the new ones is larger than all of these with a probability of 1 in `DEALS` + 1 (Phipson
    and Smyth, "Permutation p-values should never be zero", 2010), whatever the sizes are and however much the fit of
    the encoder sets indexed images apart, since neither part was fitted to.

    Args:
        held: indexed embeddings of a class, shape (images, dimension).
        new: newly seen ones, shape (new images, dimension).
        alike: those of the reference, shape (reference images, dimension).
        seed: of the deals and of the folds.

    Returns:
        The largest AUC of all deals; NaN where one of the three has fewer than `domain_auc.FOLDS` images.
    """
    if min(len(held), len(new), len(alike)) < FOLDS:
        return float("nan")
    both, random = np.concatenate([new, alike]), np.random.default_rng(seed)
    deals = [random.choice(len(both), len(new), replace=False) for _ in range(DEALS)]
    return max(domain_auc(held, both[dealt], seed=seed).value for dealt in deals)


def drift_metrics(drifts: Sequence[ClassDrift], prefix: str = "drift/") -> dict[str, float]:
    """Sum the comparison up for the tracker.

    Args:
        drifts: one per class.
        prefix: of the names.

    Returns:
        `<prefix>domain_auc_<class>`, `<prefix>reference_auc_<class>` and, where asked for, `<prefix>threshold_<class>`,
        as far as they are known.
    """
    metrics = {}
    for drift in drifts:
        metrics[class_metric(f"{prefix}domain_auc", drift.name)] = drift.domain_auc.value
        metrics[class_metric(f"{prefix}reference_auc", drift.name)] = drift.reference_auc.value
        if drift.threshold is not None:
            metrics[class_metric(f"{prefix}threshold", drift.name)] = drift.threshold
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def drift_markdown(drifts: Sequence[ClassDrift]) -> str:
    """Write the comparison of all test images as a table and what it means.

    Args:
        drifts: one per class.

    Returns:
        Markdown without a heading.
    """
    rows = [(drift.name, format_estimate(drift.domain_auc), format_estimate(drift.reference_auc)) for drift in drifts]
    return (
        table(("class", "test told from train (AUC)", "validation told from train (AUC)"), rows)
        + "\nHow well a linear classifier tells new embeddings of a class from those that the index holds for it, on "
        "images it was not fitted to: .5 where they lie alike, 1 where none is like any other. Validation was drawn "
        "like train, so its column shows what the fit of the encoder alone does.\n"
    )


def new_images_markdown(drifts: Sequence[ClassDrift], count: int) -> str:
    """Write the comparison of new images as a table and what it means.

    Args:
        drifts: one per class, with thresholds.
        count: how many images are new.

    Returns:
        Markdown without a heading.
    """
    rows = [
        (
            drift.name,
            format_estimate(drift.domain_auc),
            "–" if drift.threshold is None or math.isnan(drift.threshold) else drift.threshold,
            format_estimate(drift.reference_auc),
        )
        for drift in drifts
    ]
    header = ("class", "new told from train (AUC)", "threshold", "validation told from train (AUC)")
    return (
        f"{count} test images are new to the index that was in use when the run began, and are compared with its train "
        f"and validation images.\n\n{table(header, rows)}\nThe threshold is the largest AUC of {DEALS} random deals of "
        f"new and validation images. Images as before pass it once in {DEALS + 1} times.\n"
    )
