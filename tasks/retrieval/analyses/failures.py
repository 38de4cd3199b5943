"""The queries for which retrieval fails, and those for which it works worst."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.retrieval.metrics.ranking import CLASS_NAMES, RankingResult


@dataclass(frozen=True)
class FailureCount:
    """Failed queries of one class.

    Attributes:
        name: of the class.
        queries: number of queries.
        misses: queries with no neighbour of their class among the first k.
        minorities: queries with fewer than half of the first k of their class; these include the misses.
    """

    name: str
    queries: int
    misses: int
    minorities: int


def worst_queries(result: RankingResult, count: int, *, k: int, label: int | None = None) -> NDArray[np.int64]:
    """Choose the queries that do worst: by Hit@k, then precision@k, then average precision, then id.

    Args:
        result: figures of each query.
        count: queries to choose; all, if there are fewer.
        k: a cut-off of the result.
        label: the class to choose from; None takes all.

    Returns:
        Ids, worst first, shape (at most count,). Queries whose average precision is undefined come after their equals.
    """
    order = np.lexsort((result.query_ids, result.average_precision, result.precision_at[k], result.hit_at[k]))
    if label is not None:
        order = order[result.query_labels[order] == label]
    return result.query_ids[order[:count]]


def failed_queries(result: RankingResult, *, k: int) -> NDArray[np.bool_]:
    """Say for which queries retrieval failed: fewer than half of the first k neighbours have their class.

    Args:
        result: figures of each query.
        k: a cut-off of the result.

    Returns:
        Shape (queries,).
    """
    return result.precision_at[k] < 0.5


def count_failures(result: RankingResult, *, k: int) -> tuple[FailureCount, ...]:
    """Count failed queries by class.

    Args:
        result: figures of each query.
        k: a cut-off of the result.

    Returns:
        One count a class.
    """
    counts = []
    for label, name in enumerate(CLASS_NAMES):
        precision = result.of_class(result.precision_at[k], label)
        counts.append(FailureCount(name, len(precision), int((precision == 0).sum()), int((precision < 0.5).sum())))
    return tuple(counts)
