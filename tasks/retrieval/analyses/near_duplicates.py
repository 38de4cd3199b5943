"""Near-duplicates within and across the splits, and what they lend to retrieval.

An image that is nearly the same as its query is found first by any method, so it says nothing about the embedding.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.shared.bootstrap import mean_interval
from tasks.shared.markdown import table
from tasks.shared.pixel_correlation import LEAST_CORRELATION, correlated_pairs


@dataclass(frozen=True)
class Place:
    """Where an image stands.

    Attributes:
        split: name of the split.
        index: in the split.
        label: its class.
    """

    split: str
    index: int
    label: int


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that are nearly the same.

    Attributes:
        first: the earlier image.
        second: the later one.
        correlation: of their pixels, to nine decimals; 1 also where only brightness and contrast differ.
    """

    first: Place
    second: Place
    correlation: float

    @property
    def contradictory(self) -> bool:
        """Whether the two have different labels."""
        return self.first.label != self.second.label

    @property
    def across_splits(self) -> bool:
        """Whether the two stand in different splits."""
        return self.first.split != self.second.split

    @property
    def identical(self) -> bool:
        """Whether the two are the same but for brightness and contrast."""
        return self.correlation == 1


@dataclass(frozen=True)
class DuplicateEffect:
    """What near-duplicates lend to precision@k.

    Attributes:
        k: cut-off.
        affected: queries with a near-duplicate among their first k neighbours.
        with_duplicates: mean precision@k, near-duplicates left in.
        without_duplicates: mean precision@k of the same queries, each one's near-duplicates left out of its gallery.
        difference: of the means, without − with.
        difference_interval: its 95 % interval, paired over queries.
    """

    k: int
    affected: int
    with_duplicates: float
    without_duplicates: float
    difference: float
    difference_interval: tuple[float, float]


def find_near_duplicates(
    images: Mapping[str, NDArray[np.uint8]],
    labels: Mapping[str, NDArray[np.integer]],
    *,
    least_correlation: float = LEAST_CORRELATION,
) -> tuple[NearDuplicate, ...]:
    """Find the pairs of images that are nearly the same, within and across splits.

    Args:
        images: by split, each of shape (images, height, width) or (images, height, width, 3), 0–255.
        labels: by split, each of shape (images,).
        least_correlation: of the pixels of a pair.

    Returns:
        The pairs: those of different labels first, then those across splits, then the most alike. Images of one single
        colour are like none.

    Raises:
        InputError: there are too many images; as `tasks.shared.pixel_correlation.correlated_pairs`.
    """
    places = [
        Place(split, index, label) for split in images for index, label in enumerate(np.asarray(labels[split]).tolist())
    ]
    pixels = np.concatenate(list(images.values()))
    pairs = [
        NearDuplicate(places[first], places[second], correlation)
        for first, second, correlation in correlated_pairs(pixels, least_correlation)
    ]
    # Python's sort is stable: pairs that are equally alike keep the order of the splits and indices.
    return tuple(sorted(pairs, key=lambda pair: (not pair.contradictory, not pair.across_splits, -pair.correlation)))


def items_to_leave_out(pairs: Sequence[NearDuplicate], query_split: str, gallery_split: str) -> set[tuple[int, int]]:
    """List, for queries of one split and a gallery of one split, which item is a near-duplicate of which query.

    Args:
        pairs: near-duplicates.
        query_split: name of the queries' split.
        gallery_split: name of the gallery's split, the same one for leave-one-out.

    Returns:
        Pairs of a query's index and an item's index.
    """
    both_ways = [(pair.first, pair.second) for pair in pairs] + [(pair.second, pair.first) for pair in pairs]
    return {
        (query.index, item.index)
        for query, item in both_ways
        if query.split == query_split and item.split == gallery_split
    }


def precision_without(
    neighbour_ids: NDArray[np.int64],
    neighbour_labels: NDArray[np.integer],
    query_ids: NDArray[np.int64],
    query_labels: NDArray[np.integer],
    left_out: Set[tuple[int, int]],
    k: int,
) -> NDArray[np.float64]:
    """Score the first k neighbours of each query after some items have left its gallery.

    Args:
        neighbour_ids: nearest first, without the query itself, shape (queries, fetched); more than k are needed where
            items leave.
        neighbour_labels: class of each neighbour, shape (queries, fetched).
        query_ids: shape (queries,).
        query_labels: class of each query, shape (queries,).
        left_out: pairs of a query's and an item's id; of `items_to_leave_out`, whose ids are indices in a split.
        k: cut-off.

    Returns:
        Precision@k of each query, shape (queries,).

    Raises:
        ValueError: too few neighbours are left for a query.
    """
    pairs = np.array(sorted(left_out), dtype=np.int64).reshape(-1, 2)
    kept = np.ones(neighbour_ids.shape, dtype=bool)
    for query, item in pairs:
        kept &= ~((query_ids[:, None] == query) & (neighbour_ids == item))
    if (kept.sum(axis=1) < k).any():
        raise ValueError(f"Fewer than k = {k} neighbours are left for a query; fetch more neighbours per query.")
    counted = kept & (kept.cumsum(axis=1) <= k)
    return ((neighbour_labels == query_labels[:, None]) & counted).sum(axis=1) / k


def measure_effect(
    neighbour_ids: NDArray[np.int64],
    neighbour_labels: NDArray[np.integer],
    query_ids: NDArray[np.int64],
    query_labels: NDArray[np.integer],
    left_out: Set[tuple[int, int]],
    *,
    k: int = 1,
    samples: int,
    seed: int,
) -> DuplicateEffect:
    """Compare precision@k with and without the queries' near-duplicates.

    Args:
        neighbour_ids: as in `precision_without`.
        neighbour_labels: as in `precision_without`.
        query_ids: as in `precision_without`.
        query_labels: as in `precision_without`.
        left_out: as in `precision_without`.
        k: cut-off.
        samples: bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        The effect.

    Raises:
        ValueError: too few neighbours are left for a query.
    """
    left_in, without = (
        precision_without(neighbour_ids, neighbour_labels, query_ids, query_labels, pairs, k)
        for pairs in (set(), left_out)
    )
    affected = sum(
        any((query, item) in left_out for item in items)
        for query, items in zip(query_ids.tolist(), neighbour_ids[:, :k].tolist(), strict=True)
    )
    return DuplicateEffect(
        k=k,
        affected=affected,
        with_duplicates=float(left_in.mean()),
        without_duplicates=float(without.mean()),
        difference=float((without - left_in).mean()),
        difference_interval=mean_interval(without - left_in, samples, seed),
    )


def duplicate_metrics(pairs: Sequence[NearDuplicate], effect: DuplicateEffect) -> dict[str, float]:
    """Sum near-duplicates up for the tracker.

    Args:
        pairs: near-duplicates.
        effect: on leave-one-out within a split.

    Returns:
        `duplicates/pairs`, `duplicates/identical`, `duplicates/across_splits`, `duplicates/contradictory`,
        `duplicates/affected_queries`, and `duplicates/loo_precision_at_K_without` and `…_difference` with its interval.
    """
    low, high = effect.difference_interval
    name = f"duplicates/loo_precision_at_{effect.k}"
    return {
        "duplicates/pairs": float(len(pairs)),
        "duplicates/identical": float(sum(pair.identical for pair in pairs)),
        "duplicates/across_splits": float(sum(pair.across_splits for pair in pairs)),
        "duplicates/contradictory": float(sum(pair.contradictory for pair in pairs)),
        "duplicates/affected_queries": float(effect.affected),
        f"{name}_without": effect.without_duplicates,
        f"{name}_difference": effect.difference,
        f"{name}_difference_ci_low": low,
        f"{name}_difference_ci_high": high,
    }


def duplicate_markdown(pairs: Sequence[NearDuplicate], effect: DuplicateEffect) -> str:
    """Count near-duplicates, and say what they do to the figures.

    Args:
        pairs: near-duplicates.
        effect: on leave-one-out within a split.

    Returns:
        Markdown without a heading.
    """
    between: dict[str, list[NearDuplicate]] = {}
    for pair in pairs:
        between.setdefault(" and ".join(dict.fromkeys((pair.first.split, pair.second.split))), []).append(pair)
    counts = [
        (name, len(found), sum(pair.identical for pair in found), sum(pair.contradictory for pair in found))
        for name, found in sorted(between.items())
    ]
    low, high = effect.difference_interval
    return "\n".join(
        [
            f"Pairs whose pixels correlate at {LEAST_CORRELATION} or more: {len(pairs)}.\n",
            *([table(("splits", "pairs", "identical", "different labels"), counts)] if pairs else []),
            f"Leave-one-out precision@{effect.k}: {effect.with_duplicates:.4f} with near-duplicates in the gallery, "
            f"{effect.without_duplicates:.4f} with each query's own left out (difference {effect.difference:+.4f}, "
            f"95 % interval {low:+.4f} to {high:+.4f}); {effect.affected} queries have one among their first "
            f"{effect.k}.\n",
        ]
    )


def duplicate_list(pairs: Sequence[NearDuplicate], class_names: Sequence[str], *, limit: int = 20) -> str:
    """List near-duplicates.

    Args:
        pairs: near-duplicates.
        class_names: by label.
        limit: most pairs to list.

    Returns:
        Markdown without a heading.
    """
    listed = [
        (*(f"{place.split} #{place.index} ({class_names[place.label]})" for place in (pair.first, pair.second)),
         pair.correlation)
        for pair in pairs[:limit]
    ]  # fmt: skip
    return (
        f"The first {len(listed)} of {len(pairs)} pairs, those of different labels and across splits first.\n\n"
        + table(("image", "is like", "correlation"), listed)
    )
