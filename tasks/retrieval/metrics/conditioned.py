"""Class-conditioned retrieval: each query is searched only among the gallery items of one class.

Every neighbour then has that class, so each metric of a query is 1 if the class is its own and 0 if not: with the
*predicted* class the mean of each equals the classifier's accuracy, and with the *true* class it is 1 by construction,
which is an upper bound and no result.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.choices import Similarity
from tasks.retrieval.metrics import ranking
from tasks.retrieval.metrics.ranking import RankingResult
from tasks.retrieval.metrics.table import columns


def evaluate(
    queries: NDArray,
    query_labels: NDArray[np.integer],
    query_classes: NDArray[np.integer],
    gallery: NDArray,
    gallery_labels: NDArray[np.integer],
    query_ids: NDArray[np.int64],
    gallery_ids: NDArray[np.int64],
    k_values: Sequence[int],
    similarity: Similarity = "cosine",
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
        k_values: cut-offs.
        similarity: by which items are near.

    Returns:
        The values per query. What is relevant is counted in the whole gallery, so where the searched class is the
        wrong one every metric is 0, unless the gallery holds nothing relevant at all.

    Raises:
        InputError: a vector has no direction, or a cut-off is not positive or exceeds the items of a class.
    """
    values = {name: np.empty(len(queries)) for name, _, _ in columns(k_values)}
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
            similarity,
        )
        for name, measured in part.values.items():
            values[name][asked] = measured
    others = ranking.count_relevant(query_labels, gallery_labels) - np.isin(query_ids, gallery_ids)
    for measured in values.values():  # what is relevant stands among the other classes' items, and was not found
        measured[np.isnan(measured) & (others > 0)] = 0.0
    return RankingResult(query_ids, query_labels, values)
