"""Precision@k, Hit@k, R-precision and average precision of full rankings by cosine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.vector_index import normalize
from tasks.shared.bootstrap import mean_interval

CLASS_NAMES = ("normal", "pneumonia")

_PRODUCT = 2**21  # pairs of query and item whose cosines are computed at once: large, which BLAS likes; 16 MiB
_BLOCK = 2**17  # pairs ranked at once: small, so that they stay in the processor's cache ...
_ROWS = 128  # ... and at most this many queries
_GRID = 2**30  # steps of cosine that count as different: finer than any real difference, coarser than rounding
_MOST_ITEMS = 2**31  # places that fit beside a cosine in the integer that is sorted


@dataclass(frozen=True)
class RankingResult:
    """Figures of each query.

    Attributes:
        query_ids: int64, shape (queries,).
        query_labels: class of each query, shape (queries,).
        precision_at: share of the query's class among its first k neighbours, by k, each of shape (queries,).
        hit_at: 1 where the query's class is among its first k neighbours, else 0, by k, each of shape (queries,).
        r_precision: share of the query's class among its first R neighbours, where R is the number of gallery items of
            that class, shape (queries,); NaN where the gallery holds none.
        average_precision: mean precision at the ranks of all gallery items of the query's class, shape (queries,);
            NaN where the gallery holds none.
    """

    query_ids: NDArray[np.int64]
    query_labels: NDArray[np.integer]
    precision_at: dict[int, NDArray[np.float64]]
    hit_at: dict[int, NDArray[np.float64]]
    r_precision: NDArray[np.float64]
    average_precision: NDArray[np.float64]

    @property
    def without_relevant(self) -> int:
        """Number of queries whose class the gallery does not hold; mean average precision leaves them out."""
        return int(np.isnan(self.average_precision).sum())

    def of_class(self, values: NDArray[np.float64], label: int | None = None) -> NDArray[np.float64]:
        """Select the defined values of one class.

        Args:
            values: one of the arrays of this result, shape (queries,).
            label: the class; None takes all.

        Returns:
            The values that are not NaN, of the queries of that class.
        """
        chosen = ~np.isnan(values)
        if label is not None:
            chosen &= self.query_labels == label
        return values[chosen]

    def mean_precision(self, k: int, label: int | None = None) -> float:
        """Average precision@k over the queries of a class (None: over all); NaN where there are none."""
        return _mean(self.of_class(self.precision_at[k], label))

    def mean_hit(self, k: int, label: int | None = None) -> float:
        """Average Hit@k over the queries of a class (None: over all); NaN where there are none."""
        return _mean(self.of_class(self.hit_at[k], label))

    def mean_r_precision(self, label: int | None = None) -> float:
        """Average the R-precision over the queries of a class (None: over all); NaN where there are none."""
        return _mean(self.of_class(self.r_precision, label))

    def mean_average_precision(self, label: int | None = None) -> float:
        """Average the average precision over the queries of a class (None: over all); NaN where there are none."""
        return _mean(self.of_class(self.average_precision, label))


def evaluate(
    queries: NDArray,
    query_labels: NDArray[np.integer],
    gallery: NDArray,
    gallery_labels: NDArray[np.integer],
    query_ids: NDArray[np.int64],
    gallery_ids: NDArray[np.int64],
    k_values: Sequence[int],
) -> RankingResult:
    """Rank the whole gallery for each query and score the ranking.

    A gallery item is relevant if it has the query's class. The item with the query's own id is removed before
    ranking, wherever it would have stood; exact duplicates under other ids stay. Pass the same arrays twice for
    leave-one-out. Equal cosines keep the order of the gallery. Average precision runs over the full ranking and
    divides by all relevant items; R-precision is the precision at their number (both: Manning, Raghavan and Schütze,
    "Introduction to Information Retrieval", 2008, 8.4).

    The cosines are computed and ranked in blocks, never all at once. Beside its arguments it takes 16 bytes a number
    of the vectors and about 30 MiB for the blocks: measured 72 MiB for leave-one-out of 10⁴ vectors of 512 dimensions,
    where all cosines at once would take 763 MiB.

    Args:
        queries: vectors, shape (queries, dimensions), any numeric type; they are normalised here.
        query_labels: class of each query, shape (queries,).
        gallery: vectors, shape (items, dimensions).
        gallery_labels: class of each item, shape (items,).
        query_ids: shape (queries,).
        gallery_ids: unique, shape (items,). An id that is in both sets means one image: ids of different splits
            must not overlap.
        k_values: cut-offs of precision@k and Hit@k.

    Returns:
        The figures of each query.

    Raises:
        InputError: a vector has no direction, a cut-off is not positive or exceeds the items ranked for a query, or
            the gallery holds more than 2³¹ items.
    """
    _require_lengths("query", queries, query_labels, query_ids)
    _require_lengths("gallery", gallery, gallery_labels, gallery_ids)
    items = len(gallery)
    _require_few_enough(items)
    own = np.isin(query_ids, gallery_ids)
    _require_cutoffs(k_values, items - int(own.any()))

    # Cosines in float64: through float32 those of identical vectors differ in the last bits, and would not tie.
    query_vectors = normalize(queries).astype(np.float64)
    gallery_vectors = query_vectors if gallery is queries else normalize(gallery).astype(np.float64)
    places = 2 * np.arange(items)
    inverse_ranks = 1 / np.arange(1, items + 1)
    hits_at = {k: np.empty(len(queries), dtype=np.int64) for k in k_values}
    hits_at_r = np.empty(len(queries), dtype=np.int64)
    precision_sums = np.empty(len(queries))
    relevant_counts = np.empty(len(queries), dtype=np.int64)
    for rows, cosines in _cosines(query_vectors, gallery_vectors):
        # One integer an item holds all that decides its rank: falling cosine, then place in the gallery. The last bit
        # says whether it is relevant, so sorting the integers yields the relevance in the order of rank at once.
        keys = np.rint(cosines * -_GRID).astype(np.int64)
        keys <<= 32
        keys += places
        keys += query_labels[rows, None] == gallery_labels
        keys[query_ids[rows, None] == gallery_ids] = np.iinfo(np.int64).max - 1  # last and not relevant
        keys.sort(axis=1)
        relevant = np.bitwise_and(keys, 1, out=keys)
        hits = relevant.cumsum(axis=1)
        for k, values in hits_at.items():
            values[rows] = hits[:, k - 1]
        relevant_counts[rows] = hits[:, -1]
        hits_at_r[rows] = hits[np.arange(len(hits)), hits[:, -1] - 1]
        hits *= relevant
        precision_sums[rows] = hits @ inverse_ranks

    with np.errstate(invalid="ignore"):
        r_precision = hits_at_r / relevant_counts
        average_precision = precision_sums / relevant_counts
    return RankingResult(
        query_ids=query_ids,
        query_labels=query_labels,
        precision_at={k: values / k for k, values in hits_at.items()},
        hit_at={k: (values > 0).astype(np.float64) for k, values in hits_at.items()},
        r_precision=r_precision,
        average_precision=average_precision,
    )


def count_relevant(query_labels: NDArray[np.integer], gallery_labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the gallery items of each query's class, the query itself included where the gallery holds it.

    Args:
        query_labels: class of each query, shape (queries,).
        gallery_labels: class of each item, shape (items,).

    Returns:
        Counts, shape (queries,).
    """
    ordered = np.sort(gallery_labels)
    return np.searchsorted(ordered, query_labels, side="right") - np.searchsorted(ordered, query_labels, side="left")


def means(result: RankingResult, prefix: str) -> dict[str, float]:
    """Name the means of a result.

    Args:
        result: figures of each query.
        prefix: what comes before the slash, `loo` for instance.

    Returns:
        `PREFIX/precision_at_K` and `PREFIX/hit_at_K` for each K, `PREFIX/map`, `PREFIX/map_CLASS` for each class, and
        `PREFIX/r_precision`; a mean over no query is left out.
    """
    return {f"{prefix}/{name}": _mean(values) for name, values in _series(result).items() if len(values)}


def summarize(result: RankingResult, prefix: str, *, samples: int, seed: int) -> dict[str, float]:
    """Name the means of a result with their 95 % intervals, from a bootstrap over queries.

    Args:
        result: figures of each query.
        prefix: what comes before the slash: `loo`, `gallery` or `conditioned`.
        samples: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        What `means` returns, and each name also with `_ci_low` and `_ci_high`.
    """
    metrics = means(result, prefix)
    for name, values in _series(result).items():
        if len(values):
            low, high = mean_interval(values, samples, seed)
            metrics[f"{prefix}/{name}_ci_low"], metrics[f"{prefix}/{name}_ci_high"] = low, high
    return metrics


def _cosines(queries: NDArray[np.float64], gallery: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield the cosines of a few queries at a time with all items; computed for more queries at a time."""
    computed, ranked = (max(1, pairs // len(gallery)) for pairs in (_PRODUCT, _BLOCK))
    ranked = min(ranked, _ROWS)
    for start in range(0, len(queries), computed):
        # Of one array with itself BLAS computes half, which a small leave-one-out in one product profits from.
        product = queries[start : start + computed] @ gallery.T
        for first in range(0, len(product), ranked):
            cosines = product[first : first + ranked]
            yield slice(start + first, start + first + len(cosines)), cosines


def _series(result: RankingResult) -> dict[str, NDArray[np.float64]]:
    series = {f"precision_at_{k}": values for k, values in result.precision_at.items()}
    series["map"] = result.of_class(result.average_precision)
    for label, name in enumerate(CLASS_NAMES):
        series[f"map_{name}"] = result.of_class(result.average_precision, label)
    series["r_precision"] = result.of_class(result.r_precision)
    return series | {f"hit_at_{k}": values for k, values in result.hit_at.items()}


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _require_lengths(name: str, vectors: NDArray, labels: NDArray, ids: NDArray) -> None:
    if not len(vectors) == len(labels) == len(ids):
        raise ValueError(f"{len(vectors)} {name} vectors, {len(labels)} labels and {len(ids)} ids do not match.")


def _require_few_enough(items: int) -> None:
    if items > _MOST_ITEMS:
        raise InputError(
            f"The gallery holds {items} items, but at most {_MOST_ITEMS} can be ranked; evaluate a part of it."
        )


def _require_cutoffs(k_values: Sequence[int], available: int) -> None:
    for k in k_values:
        if not 1 <= k <= available:
            raise InputError(
                f"k = {k} was asked of a ranking of {available} items; choose every k from 1 to {available}, or a "
                "larger gallery."
            )
