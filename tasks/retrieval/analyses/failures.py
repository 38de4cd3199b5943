"""Which queries are looked at: those for which retrieval fails, the worst ones, and some at even distances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.retrieval.metrics.ranking import RankingResult


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
        result: values per query.
        count: queries to choose; all, if there are fewer.
        k: a cut-off of the result.
        label: the class to choose from; None takes all.

    Returns:
        Ids, worst first, shape (at most count,). Queries whose average precision is undefined come after their equals.
    """
    order = np.lexsort(
        (
            result.query_ids,
            *(result.values[name] for name in ("average_precision", f"precision_at_{k}", f"hit_at_{k}")),
        )
    )
    if label is not None:
        order = order[result.query_labels[order] == label]
    return result.query_ids[order[:count]]


def failed_queries(result: RankingResult, *, k: int) -> NDArray[np.bool_]:
    """Say for which queries retrieval failed: fewer than half of the first k neighbours have their class.

    Args:
        result: values per query.
        k: a cut-off of the result.

    Returns:
        Shape (queries,).
    """
    return result.values[f"precision_at_{k}"] < 0.5


def count_failures(result: RankingResult, class_names: Sequence[str], *, k: int) -> tuple[FailureCount, ...]:
    """Count failed queries by class.

    Args:
        result: values per query.
        class_names: by label.
        k: a cut-off of the result.

    Returns:
        One count per class.
    """
    counts = []
    for label, name in enumerate(class_names):
        precision = result.defined(f"precision_at_{k}", label)
        counts.append(FailureCount(name, len(precision), int((precision == 0).sum()), int((precision < 0.5).sum())))
    return tuple(counts)


def evenly_spaced(places: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Choose places at even distances, all where there are fewer than asked for."""
    if not len(places):
        return np.empty(0, dtype=np.int64)
    return places[np.linspace(0, len(places) - 1, min(count, len(places))).astype(np.int64)].astype(np.int64)
