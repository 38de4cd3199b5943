"""How far newly seen embeddings lie from those that the index holds, class by class.

The classes are compared one by one, since a different share of classes is no drift of how a class looks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.shared.domain_auc import domain_auc, unit_vectors
from tasks.shared.markdown import table
from tasks.shared.metric_names import class_metric
from tasks.shared.rates import Rate, in_words


@dataclass(frozen=True)
class LabelledVectors:
    """Embeddings of one split.

    Attributes:
        vectors: shape (images, dimension).
        labels: shape (images,).
    """

    vectors: NDArray[np.floating]
    labels: NDArray[np.integer]


@dataclass(frozen=True)
class ClassDrift:
    """What is new about one class.

    Attributes:
        name: of the class.
        domain_auc: how well logistic regression tells new embeddings from indexed ones it was not fitted to; 0.5
            where they cannot be told apart.
        reference_auc: the same for embeddings that are known to be alike.
    """

    name: str
    domain_auc: Rate
    reference_auc: Rate


def measure_drift(
    indexed: LabelledVectors,
    seen: LabelledVectors,
    reference: LabelledVectors,
    class_names: Sequence[str],
    *,
    seed: int = 0,
) -> tuple[ClassDrift, ...]:
    """Compare what the index holds with what is newly seen.

    Args:
        indexed: what is searched.
        seen: what is searched for.
        reference: images as they were when the index was built, which the encoder was not fitted to either. Where
            they too are told from the indexed ones, the fit of the encoder does it, and no drift.
        class_names: by label.
        seed: of the folds, and of the choice of images where a class has more than are compared.

    Returns:
        One comparison a class. A figure is unknown where a split has fewer than `domain_auc.FOLDS` images of the class.
    """

    def compare(split: LabelledVectors, label: int) -> Rate:
        held, new = (unit_vectors(each.vectors, each.labels == label, seed=seed) for each in (indexed, split))
        return domain_auc(held, new, seed=seed)

    return tuple(
        ClassDrift(name, compare(seen, label), compare(reference, label)) for label, name in enumerate(class_names)
    )


def drift_metrics(drifts: Sequence[ClassDrift]) -> dict[str, float]:
    """Sum the comparison up for the tracker.

    Args:
        drifts: one a class.

    Returns:
        `drift/domain_auc_<class>` and `drift/reference_auc_<class>`, where they are known.
    """
    metrics = {}
    for drift in drifts:
        metrics[class_metric("drift/domain_auc", drift.name)] = drift.domain_auc.value
        metrics[class_metric("drift/reference_auc", drift.name)] = drift.reference_auc.value
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def drift_markdown(drifts: Sequence[ClassDrift]) -> str:
    """Write the comparison as a table and what it means.

    Args:
        drifts: one a class.

    Returns:
        Markdown without a heading.
    """
    rows = [(drift.name, in_words(drift.domain_auc), in_words(drift.reference_auc)) for drift in drifts]
    return (
        table(("class", "test told from train (AUC)", "validation told from train (AUC)"), rows)
        + "\nHow well a linear classifier tells new embeddings of a class from those that the index holds for it, on "
        "images it was not fitted to: .5 where they lie alike, 1 where none is like any other. Validation was drawn "
        "like train, so its column shows what the fit of the encoder alone does.\n"
    )
