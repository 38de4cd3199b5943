"""Full rankings by cosine or distance, scored by every metric of the table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.choices import Similarity
from models.errors import InputError
from models.vector_index import finite_rows, normalize
from tasks.retrieval.metrics.table import RankedItems, columns, metric_of
from tasks.shared.bootstrap import mean_interval
from tasks.shared.metric_names import class_metric

_PRODUCT = 2**21  # pairs of query and item that are compared at once: large, which BLAS likes; 16 MiB
_BLOCK = 2**17  # pairs ranked at once: small, so that they stay in the processor's cache ...
_ROWS = 128  # ... and at most this many queries
_GRID = 2**30  # steps of similarity that count as different: finer than any real difference, coarser than rounding
_OWN = np.iinfo(np.int64).max - 1  # the query itself
_MOST_ITEMS = 2**31  # places that fit beside a similarity in the integer that is sorted


@dataclass(frozen=True)
class RankingResult:
    """What the metrics found per query.

    Attributes:
        query_ids: int64, shape (queries,).
        query_labels: class of each query, shape (queries,).
        values: by name, as `tasks.retrieval.metrics.table.columns` gives it (`precision_at_5`), each of shape
            (queries,); NaN where a metric is undefined, as for a class that the gallery does not hold.
    """

    query_ids: NDArray[np.int64]
    query_labels: NDArray[np.integer]
    values: dict[str, NDArray[np.float64]]

    @property
    def without_relevant(self) -> int:
        """Number of queries whose class the gallery does not hold; mean average precision leaves them out."""
        return int(np.isnan(self.values["average_precision"]).sum())

    def defined(self, name: str, label: int | None = None) -> NDArray[np.float64]:
        """Select the values of a metric that are not NaN, of the queries of a class (None: of all)."""
        chosen = ~np.isnan(self.values[name])
        if label is not None:
            chosen &= self.query_labels == label
        return self.values[name][chosen]

    def mean(self, name: str, label: int | None = None) -> float:
        """Average a metric over the queries of a class (None: over all); NaN where it is defined for none."""
        values = self.defined(name, label)
        return float(values.mean()) if len(values) else float("nan")


def evaluate(
    queries: NDArray,
    query_labels: NDArray[np.integer],
    gallery: NDArray,
    gallery_labels: NDArray[np.integer],
    query_ids: NDArray[np.int64],
    gallery_ids: NDArray[np.int64],
    k_values: Sequence[int],
    similarity: Similarity = "cosine",
    grades: int | None = None,
) -> RankingResult:
    """Rank the whole gallery for each query and score the ranking.

    A gallery item is relevant if it has the query's class. The item with the query's own id is removed before
    ranking, wherever it would have stood; exact duplicates under other ids stay. Pass the same arrays twice for
    leave-one-out. Items that are equally near keep the order of the gallery.

    The similarities are computed and ranked in blocks, never all at once. Beside its arguments it takes 16 bytes a
    number of the vectors and about 30 MiB for the blocks: measured 72 MiB for leave-one-out of 10⁴ vectors of 512
    dimensions, where all of them at once would take 763 MiB.

    Args:
        queries: vectors, shape (queries, dimensions), any numeric type; for the cosine they are normalised
            here.
        query_labels: class of each query, shape (queries,).
        gallery: vectors, shape (items, dimensions).
        gallery_labels: class of each item, shape (items,).
        query_ids: shape (queries,).
        gallery_ids: unique, shape (items,). An id that is in both sets means one image: ids of different splits
            must not overlap.
        k_values: cut-offs.
        similarity: by which items are near.
        grades: number of classes where they are grades, which adds graded metrics; None where they have no order.

    Returns:
        The values per query.

    Raises:
        InputError: a vector is not finite or, for the cosine, has no direction, a cut-off is not positive or exceeds
            the items ranked for a query, or the gallery holds more than 2³¹ items.
    """
    _require_lengths("query", queries, query_labels, query_ids)
    _require_lengths("gallery", gallery, gallery_labels, gallery_ids)
    items = len(gallery)
    _require_few_enough(items)
    own = np.isin(query_ids, gallery_ids)
    _require_cutoffs(k_values, items - int(own.any()))

    # In float64: through float32 similarities of identical vectors differ in the last bits, and would not tie.
    prepared, compare = (normalize, _cosines) if similarity == "cosine" else (finite_rows, _distances)
    query_vectors = prepared(queries).astype(np.float64)
    gallery_vectors = query_vectors if gallery is queries else prepared(gallery).astype(np.float64)
    places = 2 * np.arange(items)
    measured = list(columns(k_values, graded=grades is not None))
    values = {name: np.empty(len(queries)) for name, _, _ in measured}
    for rows, near in compare(query_vectors, gallery_vectors):
        # One integer an item holds all that decides its rank: falling similarity, then place in the gallery. The last
        # bit says whether it is relevant, so sorting the integers yields the relevance in the order of rank at once.
        keys = np.rint(near * -_GRID).astype(np.int64)
        keys <<= 32
        keys += places
        keys += query_labels[rows, None] == gallery_labels
        keys[query_ids[rows, None] == gallery_ids] = _OWN  # last and not relevant
        keys.sort(axis=1)
        gains = None if grades is None else _gains(keys, query_labels[rows], gallery_labels, grades)
        relevant = np.bitwise_and(keys, 1, out=keys)
        ranked = RankedItems(relevant, relevant.cumsum(axis=1), gains)
        for name, metric, cutoff in measured:
            values[name][rows] = metric.measure(ranked, *cutoff)
    return RankingResult(query_ids, query_labels, values)


def _gains(
    keys: NDArray[np.int64], query_labels: NDArray[np.integer], gallery_labels: NDArray[np.integer], grades: int
) -> NDArray[np.float64]:
    """Read from the sorted keys which item stands at each rank, and how far its grade is from the query's."""
    own = keys == _OWN
    places = np.where(own, 0, (keys & (2**32 - 1)) >> 1)
    distances = np.abs(gallery_labels.astype(np.int64)[places] - query_labels.astype(np.int64)[:, None])
    return np.where(own, 0.0, grades - 1 - distances)


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


def averaged(result: RankingResult, class_names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Collect what is averaged.

    Args:
        result: values per query.
        class_names: by label.

    Returns:
        The defined values by name of their mean: `precision_at_K`, `map`, `map_CLASS` for each class and so on.
    """
    found = {}
    for column in result.values:
        metric = metric_of(column)
        name = metric.mean or column
        found[name] = result.defined(column)
        for label, of_class in enumerate(class_names if metric.by_class else ()):
            found[class_metric(name, of_class)] = result.defined(column, label)
    return found


def means(result: RankingResult, prefix: str, class_names: Sequence[str]) -> dict[str, float]:
    """Name the means of a result.

    Args:
        result: values per query.
        prefix: what comes before the slash, `loo` for instance.
        class_names: by label.

    Returns:
        `PREFIX/NAME` for each name of `averaged`; a mean over no query is left out.
    """
    return {
        f"{prefix}/{name}": float(values.mean())
        for name, values in averaged(result, class_names).items()
        if len(values)
    }


def summarize(
    result: RankingResult, prefix: str, class_names: Sequence[str], *, samples: int, seed: int
) -> dict[str, float]:
    """Name the means of a result with their 95 % intervals, from a bootstrap over queries.

    Args:
        result: values per query.
        prefix: what comes before the slash: `loo`, `gallery` or `conditioned`.
        class_names: by label.
        samples: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        What `means` returns, and each name also with `_ci_low` and `_ci_high`.
    """
    metrics = means(result, prefix, class_names)
    for name, values in averaged(result, class_names).items():
        if len(values):
            low, high = mean_interval(values, samples, seed)
            metrics[f"{prefix}/{name}_ci_low"], metrics[f"{prefix}/{name}_ci_high"] = low, high
    return metrics


def _distances(
    queries: NDArray[np.float64], gallery: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield squared distances times minus one, likewise, scaled so that they lie in [-1, 0]."""
    squares, of_gallery = (np.einsum("vd,vd->v", vectors, vectors) for vectors in (queries, gallery))
    most = (np.sqrt(squares.max()) + np.sqrt(of_gallery.max())) ** 2 or 1.0
    for rows, products in _cosines(queries, gallery):
        yield rows, (2 * products - squares[rows, None] - of_gallery) / most


def _cosines(queries: NDArray[np.float64], gallery: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield the inner products of a few queries at a time with all items; computed for more queries at a time."""
    computed, ranked = (max(1, pairs // len(gallery)) for pairs in (_PRODUCT, _BLOCK))
    ranked = min(ranked, _ROWS)
    for start in range(0, len(queries), computed):
        # Of one array with itself BLAS computes half, which a small leave-one-out in one product profits from.
        product = queries[start : start + computed] @ gallery.T
        for first in range(0, len(product), ranked):
            cosines = product[first : first + ranked]
            yield slice(start + first, start + first + len(cosines)), cosines


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
