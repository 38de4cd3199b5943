"""What a random ranking would score, exactly: the level that every retrieval figure is read against."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.retrieval.metrics.ranking import RankingResult, count_relevant
from tasks.retrieval.metrics.table import columns


def leave_one_out(labels: NDArray[np.integer], ids: NDArray[np.int64], k_values: Sequence[int]) -> RankingResult:
    """Expect what a random ranking scores where each image is searched among all others.

    Args:
        labels: class of each image, shape (images,).
        ids: shape (images,).
        k_values: cut-offs, at most one less than there are images.

    Returns:
        Expected values per query.
    """
    return _expected(ids, labels, count_relevant(labels, labels) - 1, len(labels) - 1, k_values)


def from_gallery(
    query_labels: NDArray[np.integer],
    query_ids: NDArray[np.int64],
    gallery_labels: NDArray[np.integer],
    k_values: Sequence[int],
) -> RankingResult:
    """Expect what a random ranking scores where the queries are searched in a gallery that holds none of them.

    Args:
        query_labels: class of each query, shape (queries,).
        query_ids: shape (queries,).
        gallery_labels: class of each item, shape (items,).
        k_values: cut-offs, at most the number of items.

    Returns:
        Expected values per query.
    """
    relevant = count_relevant(query_labels, gallery_labels)
    return _expected(query_ids, query_labels, relevant, len(gallery_labels), k_values)


def _expected(
    ids: NDArray[np.int64],
    labels: NDArray[np.integer],
    relevant: NDArray[np.integer],
    items: int,
    k_values: Sequence[int],
) -> RankingResult:
    values = {name: metric.chance(relevant, items, *cutoff) for name, metric, cutoff in columns(k_values)}
    return RankingResult(ids, labels, values)
