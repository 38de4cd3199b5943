"""Class-conditioned retrieval: each query is searched only among the gallery items of one class.

Every neighbour then has that class, so each figure of a query is 1 if the class is its own and 0 if not: with the
*predicted* class, precision@k, Hit@k, R-precision and mean average precision all equal the classifier's accuracy, and
with the *true* class they are 1 by construction, which is an upper bound and no result.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.retrieval.metrics import ranking
from tasks.retrieval.metrics.ranking import RankingResult


def evaluate(
    queries: NDArray,
    query_labels: NDArray[np.integer],
    query_classes: NDArray[np.integer],
    gallery: NDArray,
    gallery_labels: NDArray[np.integer],
    query_ids: NDArray[np.int64],
    gallery_ids: NDArray[np.int64],
    k_values: Sequence[int],
) -> RankingResult:
    """Rank for each query the gallery items of one class and score the rankings.

    Args:
        queries: vectors, shape (queries, dimensions).
        query_labels: true class of each query, shape (queries,).
        query_classes: class in whose items each query is searched, shape (queries,): the predicted one, or the true
            one for the upper bound.
        gallery: vectors, shape (items, dimensions).
        gallery_labels: true class of each item, shape (items,).
        query_ids: shape (queries,).
        gallery_ids: unique, shape (items,). A query's own id is removed.
        k_values: cut-offs of precision@k and Hit@k.

    Returns:
        The figures of each query. R-precision and average precision divide by the relevant items of the whole gallery,
        so they are 0 where the searched class is the wrong one.

    Raises:
        InputError: a vector has no direction, or a cut-off is not positive or exceeds the items of a class.
    """
    precision_at = {k: np.empty(len(queries)) for k in k_values}
    hit_at = {k: np.empty(len(queries)) for k in k_values}
    r_precision = np.empty(len(queries))
    average_precision = np.empty(len(queries))
    for searched in np.unique(query_classes):
        asked = query_classes == searched
        found = gallery_labels == searched
        part = ranking.evaluate(
            queries[asked],
            query_labels[asked],
            gallery[found],
            gallery_labels[found],
            query_ids[asked],
            gallery_ids[found],
            k_values,
        )
        for k in k_values:
            precision_at[k][asked] = part.precision_at[k]
            hit_at[k][asked] = part.hit_at[k]
        r_precision[asked] = part.r_precision
        average_precision[asked] = part.average_precision

    # What is relevant stands in the other class's items: it exists, and was not found.
    others = ranking.count_relevant(query_labels, gallery_labels) - np.isin(query_ids, gallery_ids)
    missed = np.isnan(average_precision) & (others > 0)
    r_precision[missed] = average_precision[missed] = 0.0
    return RankingResult(query_ids, query_labels, precision_at, hit_at, r_precision, average_precision)


def summarize(predicted: RankingResult, true_class: RankingResult, *, samples: int, seed: int) -> dict[str, float]:
    """Name the metrics of class-conditioned retrieval.

    Args:
        predicted: searched in the predicted class.
        true_class: searched in the true class.
        samples: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        `conditioned/…` with intervals, and `conditioned_true_class/precision_at_K`, the upper bound that is 1 by
        construction.
    """
    metrics = ranking.summarize(predicted, "conditioned", samples=samples, seed=seed)
    for k in true_class.precision_at:
        metrics[f"conditioned_true_class/precision_at_{k}"] = true_class.mean_precision(k)
    return metrics
