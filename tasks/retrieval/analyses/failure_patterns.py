"""What failed queries have in common: their pixels, the classifier's view of them, and the neighbours they meet.

The classes are compared one by one: normal X-rays look different from pneumonia and fail more often, so over both
together every property of a normal X-ray would seem to cause failure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.shared.estimates import Estimate, format_estimate, share
from tasks.shared.holm import holm
from tasks.shared.markdown import table
from tasks.shared.rank_biserial import rank_biserial


@dataclass(frozen=True)
class Pattern:
    """Failures of retrieval against errors of the classifier, for the queries of one class.

    Attributes:
        name: of the class.
        both_right: queries that neither gets wrong.
        only_retrieval_wrong: retrieval fails, though the classifier is right.
        only_classifier_wrong: the classifier errs, though retrieval does not fail.
        both_wrong: both get them wrong.
    """

    name: str
    both_right: int
    only_retrieval_wrong: int
    only_classifier_wrong: int
    both_wrong: int


@dataclass(frozen=True)
class Effect:
    """How one property differs between failed and other queries of one class.

    Attributes:
        property: its name.
        name: of the class.
        failed: median over failed queries; NaN without any.
        others: median over the others; NaN without any.
        effect: rank-biserial correlation: the share of pairs of a failed and another query in which the
            failed one has more, less the share in which it has less; −1 to 1, 0 without a difference. NaN where
            a group is empty.
        p: two-sided p-value of the Mann–Whitney test; NaN likewise.
        p_adjusted: the same, adjusted for the number of tests (Holm, 1979).
    """

    property: str
    name: str
    failed: float
    others: float
    effect: Estimate
    p: float
    p_adjusted: float


def image_properties(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Measure what the pixels of each image are like.

    Args:
        images: shape (images, height, width) or (images, height, width, 3), 0–255; of colours their mean counts.

    Returns:
        By name, each of shape (images,): `brightness`, the mean, and `contrast`, the standard deviation, both in grey
        levels; `sharpness`, the variance of the Laplacian, in their square (Pech-Pacheco et al., "Diatom
        autofocusing in brightfield microscopy", 2000).
    """
    from scipy.ndimage import laplace

    grey = images.astype(np.float64)
    grey = grey.mean(axis=3) if grey.ndim == 4 else grey
    return {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "sharpness": laplace(grey, axes=(1, 2)).var(axis=(1, 2)),
    }


def neighbour_popularity(neighbour_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Measure how often the neighbours of each query are neighbours at all: high where a query meets hubs.

    Args:
        neighbour_ids: the first k neighbours of each query, shape (queries, k).

    Returns:
        Mean over a query's neighbours of the number of queries that have this neighbour, shape (queries,).
    """
    _, place, counts = np.unique(neighbour_ids, return_inverse=True, return_counts=True)
    return counts[place.reshape(neighbour_ids.shape)].mean(axis=1)


def count_patterns(
    failed: NDArray[np.bool_], misclassified: NDArray[np.bool_], labels: NDArray[np.integer], class_names: Sequence[str]
) -> tuple[Pattern, ...]:
    """Count by class how failures of retrieval and errors of the classifier meet.

    Args:
        failed: whether retrieval failed, shape (queries,).
        misclassified: whether the classifier is wrong, shape (queries,).
        labels: class of each query, shape (queries,).
        class_names: by label.

    Returns:
        One count per class.
    """
    patterns = []
    for label, name in enumerate(class_names):
        wrong, missed = failed[labels == label], misclassified[labels == label]
        patterns.append(
            Pattern(
                name=name,
                both_right=int((~wrong & ~missed).sum()),
                only_retrieval_wrong=int((wrong & ~missed).sum()),
                only_classifier_wrong=int((~wrong & missed).sum()),
                both_wrong=int((wrong & missed).sum()),
            )
        )
    return tuple(patterns)


def compare_failed(
    properties: Mapping[str, NDArray[np.floating]],
    failed: NDArray[np.bool_],
    labels: NDArray[np.integer],
    class_names: Sequence[str],
    *,
    samples: int,
    seed: int,
) -> tuple[Effect, ...]:
    """Compare the properties of failed queries with those of the others, class by class.

    Args:
        properties: by name, each of shape (queries,).
        failed: whether retrieval failed, shape (queries,).
        labels: class of each query, shape (queries,).
        class_names: by label.
        samples: bootstrap samples of the intervals, drawn within each group.
        seed: seed of the bootstrap.

    Returns:
        One effect per property and class, property by property; the p-values are adjusted for all of them.
    """
    effects = [
        _effect(name, of_class, values[failed & (labels == label)], values[~failed & (labels == label)], samples, seed)
        for name, values in properties.items()
        for label, of_class in enumerate(class_names)
    ]
    tested = [place for place, effect in enumerate(effects) if not np.isnan(effect.p)]
    for place, p in zip(tested, holm([effects[place].p for place in tested]), strict=True):
        effects[place] = replace(effects[place], p_adjusted=p)
    return tuple(effects)


def patterns_markdown(patterns: Sequence[Pattern], effects: Sequence[Effect], *, k: int) -> str:
    """Write the patterns and effects as tables.

    Args:
        patterns: of `count_patterns`.
        effects: of `compare_failed`.
        k: the cut-off by which retrieval failed.

    Returns:
        Markdown without a heading.
    """
    counts = [
        (
            p.name, p.both_right, p.only_retrieval_wrong, p.only_classifier_wrong, p.both_wrong,
            _errors_among(p.both_wrong, p.only_retrieval_wrong), _errors_among(p.only_classifier_wrong, p.both_right),
        )
        for p in patterns
    ]  # fmt: skip
    differences = [
        (e.property, e.name, _number(e.failed), _number(e.others), format_estimate(e.effect), _p(e.p_adjusted))
        for e in effects
    ]
    return "\n".join(
        [
            f"Retrieval fails for a query if fewer than half of its {k} nearest neighbours have its class.\n",
            table(
                (
                    "class", "both succeed", "only retrieval fails", "only the classifier errs", "both fail",
                    "classifier's errors where retrieval fails", "where it does not",
                ),
                counts,
            ),
            "Failed against other queries of the same class. The effect is the rank-biserial correlation, positive "
            "where failed queries have more; the p-values are Mann–Whitney's, adjusted by Holm for all rows. These "
            "are associations, not causes.\n",
            table(("property", "class", "median, failed", "median, others", "effect", "p"), differences),
        ]
    )  # fmt: skip


def _effect(
    name: str, of_class: str, failed: NDArray[np.floating], others: NDArray[np.floating], samples: int, seed: int
) -> Effect:
    from scipy.stats import mannwhitneyu

    both = len(failed) > 0 and len(others) > 0
    return Effect(
        property=name,
        name=of_class,
        failed=_median(failed),
        others=_median(others),
        effect=rank_biserial(failed, others, samples=samples, seed=seed),
        p=float(mannwhitneyu(failed, others).pvalue) if both else float("nan"),
        p_adjusted=float("nan"),
    )


def _median(values: NDArray[np.floating]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _errors_among(errors: int, right: int) -> str:
    return format_estimate(share([True] * errors + [False] * right))


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4g}"


def _p(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}"
