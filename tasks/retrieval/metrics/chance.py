"""What a random ranking would score, exactly: the level that every retrieval figure is read against."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from tasks.retrieval.metrics.ranking import RankingResult, count_relevant


@dataclass(frozen=True)
class Protocol:
    """One way to search, its result and its chance level.

    Attributes:
        name: as shown in figures and tables.
        result: measured figures of each query.
        chance: expected figures of each query under a random ranking.
    """

    name: str
    result: RankingResult
    chance: RankingResult


def leave_one_out(labels: NDArray[np.integer], ids: NDArray[np.int64], k_values: Sequence[int]) -> RankingResult:
    """Expect what a random ranking scores where each image is searched among all others.

    Args:
        labels: class of each image, shape (images,).
        ids: shape (images,).
        k_values: cut-offs, at most one less than there are images.

    Returns:
        Expected figures of each query: a share of (own class − 1) / (images − 1) relevant items at any rank.
    """
    relevant = count_relevant(labels, labels) - 1
    return _expected(ids, labels, relevant, len(labels) - 1, k_values)


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
        Expected figures of each query: a share of own class / items relevant items at any rank.
    """
    relevant = count_relevant(query_labels, gallery_labels)
    return _expected(query_ids, query_labels, relevant, len(gallery_labels), k_values)


def average_precision(relevant: NDArray[np.integer], items: int) -> NDArray[np.float64]:
    """Expect the average precision of a random ranking (Bestgen, "Exact expected average precision", IPM 2015).

    An item at rank i that is relevant has (R − 1) / (n − 1) relevant items expected before it at each rank, so its
    precision is expected to be (1 + (i − 1)(R − 1) / (n − 1)) / i; the mean over all ranks i is the answer. It is a
    little above R / n.

    Args:
        relevant: R, number of relevant items, shape (queries,).
        items: n, number of items ranked.

    Returns:
        Expected average precision, shape (queries,); NaN where nothing is relevant.
    """
    ranks = np.arange(1, items + 1)
    harmonic = (1 / ranks).mean()
    before = (relevant - 1) / max(items - 1, 1)
    return np.where(relevant > 0, harmonic + before * (1 - harmonic), np.nan)


def hit(relevant: NDArray[np.integer], items: int, k: int) -> NDArray[np.float64]:
    """Expect Hit@k of a random ranking: one minus the hypergeometric chance of no relevant item among k.

    Args:
        relevant: R, number of relevant items, shape (queries,).
        items: n, number of items ranked.
        k: cut-off, at most n.

    Returns:
        1 − C(n − R, k) / C(n, k), shape (queries,).
    """
    others = items - np.asarray(relevant, dtype=np.float64)
    enough = others >= k
    others = np.where(enough, others, k)
    log_miss = gammaln(others + 1) - gammaln(others - k + 1) - gammaln(items + 1) + gammaln(items - k + 1)
    return np.where(enough, -np.expm1(log_miss), 1.0)


def _expected(
    ids: NDArray[np.int64],
    labels: NDArray[np.integer],
    relevant: NDArray[np.integer],
    items: int,
    k_values: Sequence[int],
) -> RankingResult:
    share = relevant / items  # of relevant items, expected at any rank and so at any cut-off
    return RankingResult(
        query_ids=ids,
        query_labels=labels,
        precision_at=dict.fromkeys(k_values, share),
        hit_at={k: hit(relevant, items, k) for k in k_values},
        r_precision=np.where(relevant > 0, share, np.nan),
        average_precision=average_precision(relevant, items),
    )
