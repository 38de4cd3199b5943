"""What a random ranking would score, exactly: the level that every retrieval figure is read against."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.retrieval.metrics.ranking import RankingResult, count_relevant
from tasks.retrieval.metrics.table import columns


def leave_one_out(
    labels: NDArray[np.integer], ids: NDArray[np.int64], k_values: Sequence[int], grades: int | None = None
) -> RankingResult:
    """Expect what a random ranking scores where each image is searched among all others.

    Args:
        labels: class of each image, shape (images,).
        ids: shape (images,).
        k_values: cut-offs, at most one less than there are images.
        grades: as in `ranking.evaluate`.

    Returns:
        Expected values per query.
    """
    return _expected(ids, labels, labels, k_values, grades, own=1)


def from_gallery(
    query_labels: NDArray[np.integer],
    query_ids: NDArray[np.int64],
    gallery_labels: NDArray[np.integer],
    k_values: Sequence[int],
    grades: int | None = None,
) -> RankingResult:
    """Expect what a random ranking scores where the queries are searched in a gallery that holds none of them.

    Args:
        query_labels: class of each query, shape (queries,).
        query_ids: shape (queries,).
        gallery_labels: class of each item, shape (items,).
        k_values: cut-offs, at most the number of items.
        grades: as in `ranking.evaluate`.

    Returns:
        Expected values per query.
    """
    return _expected(query_ids, query_labels, gallery_labels, k_values, grades, own=0)


def _expected(
    ids: NDArray[np.int64],
    labels: NDArray[np.integer],
    gallery_labels: NDArray[np.integer],
    k_values: Sequence[int],
    grades: int | None,
    *,
    own: int,
) -> RankingResult:
    """Expect the values where the gallery holds `own` items that are the query itself: none or one."""
    relevant, items = count_relevant(labels, gallery_labels) - own, len(gallery_labels) - own
    values = {}
    for name, metric, cutoff in columns(k_values, graded=grades is not None):
        if metric.graded and grades is not None:
            asked, of_query = np.unique(labels, return_inverse=True)
            gains = grades - 1.0 - np.abs(asked[:, None].astype(np.int64) - gallery_labels.astype(np.int64))
            falling = np.sort(gains, axis=1)[:, ::-1][:, own:]  # the query itself is among the nearest in grade
            values[name] = metric.chance(falling, *cutoff)[of_query]
        else:
            values[name] = metric.chance(relevant, items, *cutoff)
    return RankingResult(ids, labels, values)
