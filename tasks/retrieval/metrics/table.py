"""The metrics of a ranking: each is one function with its level of chance and its words, in one table.

To add one, write the function of `RankedItems` and that of its chance, and a row of `METRICS`. The evaluation by every
protocol, the levels of chance, the stage's report and the tracker read the table.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Values = NDArray[np.float64]


@dataclass(frozen=True)
class RankedItems:
    """The rankings of some queries.

    Attributes:
        relevant: 1 where the item at a rank has the query's class, else 0, int64, shape (queries, items). The query's
            own item, where the gallery holds it, stands last and counts as not relevant.
        hits: number of relevant items down to a rank, int64, shape (queries, items).
        gains: how relevant the item at a rank is where the classes are grades: their number less one, less how far its
            grade is from the query's; 0 for the query's own item. Shape (queries, items); None where they are none.
    """

    relevant: NDArray[np.int64]
    hits: NDArray[np.int64]
    gains: NDArray[np.float64] | None = None

    @property
    def totals(self) -> NDArray[np.int64]:
        """Number of relevant items per query, shape (queries,)."""
        return self.hits[:, -1]


@dataclass(frozen=True)
class Metric:
    """A metric of a ranking.

    Attributes:
        name: of its value per query; with a cut-off, `NAME_at_K`.
        title: the same in words; `{k}` stands for the cut-off.
        definition: one or two sentences for the report.
        measure: rankings, and the cut-off if it has one → value per query, in [0, 1], NaN where it is undefined.
        chance: expectation under a random ranking, from the numbers of relevant items per query, the number of items
            ranked, and the cut-off if it has one; of a graded one, from the gains of the items, the highest first,
            shape (queries, items), and the cut-off.
        at_k: whether it has a cut-off.
        mean: name of its mean over queries, where that is another one.
        by_class: whether it is averaged per class too.
        compared: whether encoders are compared by it.
        graded: whether it is of classes that are grades only.
    """

    name: str
    title: str
    definition: str
    measure: Callable[..., Values]
    chance: Callable[..., Values]
    at_k: bool = False
    mean: str = ""
    by_class: bool = False
    compared: bool = False
    graded: bool = False


def precision(ranked: RankedItems, k: int) -> Values:
    """Share of relevant items among the first k."""
    return ranked.hits[:, k - 1] / k


def precision_by_chance(relevant: NDArray[np.integer], items: int, k: int) -> Values:
    """Expect the share of relevant items, which is the same at any cut-off."""
    return relevant / items


def hit(ranked: RankedItems, k: int) -> Values:
    """1 where a relevant item is among the first k, else 0."""
    return (ranked.hits[:, k - 1] > 0).astype(np.float64)


def hit_by_chance(relevant: NDArray[np.integer], items: int, k: int) -> Values:
    """One minus the hypergeometric chance of no relevant item among k: 1 − C(n − R, k) / C(n, k)."""
    others = items - np.asarray(relevant, dtype=np.float64)
    enough = others >= k
    others = np.where(enough, others, k)
    log_miss = gammaln(others + 1) - gammaln(others - k + 1) - gammaln(items + 1) + gammaln(items - k + 1)
    return np.where(enough, -np.expm1(log_miss), 1.0)


def average_precision(ranked: RankedItems) -> Values:
    """Mean precision at the ranks of all relevant items (Manning, Raghavan and Schütze, 2008, 8.4)."""
    inverse_ranks = 1 / np.arange(1, ranked.hits.shape[1] + 1)
    return _ratio((ranked.hits * ranked.relevant) @ inverse_ranks, ranked.totals)


def average_precision_by_chance(relevant: NDArray[np.integer], items: int) -> Values:
    """Expect the average precision (Bestgen, "Exact expected average precision", IPM 2015).

    An item at rank i that is relevant has (R − 1) / (n − 1) relevant items expected before it at each rank, so its
    precision is expected to be (1 + (i − 1)(R − 1) / (n − 1)) / i; the mean over all ranks i is the answer. It is a
    little above R / n.
    """
    ranks = np.arange(1, items + 1)
    harmonic = (1 / ranks).mean()
    before = (relevant - 1) / max(items - 1, 1)
    return np.where(relevant > 0, harmonic + before * (1 - harmonic), np.nan)


def r_precision(ranked: RankedItems) -> Values:
    """Precision at the number of relevant items (Manning, Raghavan and Schütze, 2008, 8.4)."""
    return _ratio(ranked.hits[np.arange(len(ranked.hits)), ranked.totals - 1], ranked.totals)


def r_precision_by_chance(relevant: NDArray[np.integer], items: int) -> Values:
    """Expect the share of relevant items."""
    return np.where(relevant > 0, relevant / items, np.nan)


def ndcg(ranked: RankedItems, k: int) -> Values:
    """Gain of the first k, discounted by the logarithm of the rank, over that of the best order.

    Normalised discounted cumulative gain (Järvelin and Kekäläinen, TOIS 2002), in the form with linear gains.
    """
    assert ranked.gains is not None
    best = np.sort(ranked.gains, axis=1)[:, ::-1]
    return _ratio(_discounted(ranked.gains, k), _discounted(best, k))


def ndcg_by_chance(gains: Values, k: int) -> Values:
    """Expect the mean gain at every rank."""
    mean = np.repeat(gains.mean(axis=1, keepdims=True), gains.shape[1], axis=1)
    return _ratio(_discounted(mean, k), _discounted(gains, k))


def _discounted(gains: Values, k: int) -> Values:
    return gains[:, :k] @ (1 / np.log2(np.arange(2, k + 2)))


METRICS = (
    Metric(
        "precision", "precision@{k}", "Precision@k is the share of relevant items among the first k.",
        precision, precision_by_chance, at_k=True, compared=True,
    ),
    Metric(
        "average_precision", "average precision", "Average precision runs over the full ranking and divides by all "
        "relevant items; mAP is its mean over queries.",
        average_precision, average_precision_by_chance, mean="map", by_class=True, compared=True,
    ),
    Metric(
        "r_precision", "R-precision", "R-precision is the precision at the number of relevant items.",
        r_precision, r_precision_by_chance,
    ),
    Metric("hit", "Hit@{k}", "Hit@k asks whether any of the first k is relevant.", hit, hit_by_chance, at_k=True),
    Metric(
        "ndcg", "NDCG@{k}", "NDCG@k is the gain of the first k, discounted by the logarithm of the rank, over that of "
        "the best order; the gain of an item falls by 1 with each grade between it and the query.",
        ndcg, ndcg_by_chance, at_k=True, graded=True,
    ),
)  # fmt: skip
"""All metrics, in the order of the report."""


def columns(k_values: Sequence[int], *, graded: bool = False) -> Iterator[tuple[str, Metric, tuple[int, ...]]]:
    """Name what is measured per query.

    Args:
        k_values: cut-offs.
        graded: whether the classes are grades.

    Yields:
        The name, `precision_at_5` for instance, its metric, and the cut-off if it has one.
    """
    for metric in METRICS:
        if metric.graded and not graded:
            continue
        yield from (
            [(f"{metric.name}_at_{k}", metric, (k,)) for k in k_values] if metric.at_k else [(metric.name, metric, ())]
        )


def metric_of(column: str) -> Metric:
    """Find the metric of a name that `columns` gave."""
    return next(metric for metric in METRICS if metric.name == column.partition("_at_")[0])


def _ratio(numerators: NDArray, denominators: NDArray) -> Values:
    with np.errstate(invalid="ignore"):
        return numerators / denominators
