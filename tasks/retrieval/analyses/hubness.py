"""Hubness: whether a few images are the neighbours of very many, and many the neighbours of none.

In spaces of many dimensions some vectors come to lie among the nearest of very many others (Radovanović, Nanopoulos and
Ivanović, "Hubs in space", JMLR 2010). Such a hub is shown again and again whatever was asked, and an antihub can never
be found. How often an image is a neighbour is its k-occurrence; how skewed the k-occurrences are is the hubness.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.shared.markdown import table

K = 10  # as in the paper


@dataclass(frozen=True)
class Hubness:
    """How often each item of a gallery is found.

    Attributes:
        k: neighbours per query.
        queries: number of queries.
        ids: of the items, shape (items,).
        labels: class of each item, shape (items,).
        occurrences: k-occurrence N_k, how many queries find the item among their first k, int64, shape (items,).
        bad_occurrences: how many of these queries have another class than the item, int64, shape (items,).
        available: items that a query may find: all, or all but itself.
        bad_share_by_chance: share of neighbours of another class than the query's that random neighbours would have.
    """

    k: int
    queries: int
    ids: NDArray[np.int64]
    labels: NDArray[np.integer]
    occurrences: NDArray[np.int64]
    bad_occurrences: NDArray[np.int64]
    available: int
    bad_share_by_chance: float

    @property
    def hub_level(self) -> float:
        """K-occurrence above which an item is a hub: two standard deviations above the mean."""
        return float(self.occurrences.mean() + 2 * self.occurrences.std())

    @property
    def hubs(self) -> NDArray[np.bool_]:
        """Which items are hubs, shape (items,)."""
        return self.occurrences > self.hub_level

    @property
    def antihubs(self) -> NDArray[np.bool_]:
        """Which items no query finds, shape (items,)."""
        return self.occurrences == 0


def measure_hubness(
    neighbour_ids: NDArray[np.int64],
    query_ids: NDArray[np.int64],
    query_labels: NDArray[np.integer],
    gallery_ids: NDArray[np.int64],
    gallery_labels: NDArray[np.integer],
) -> Hubness:
    """Count how often each item of the gallery is a neighbour.

    Args:
        neighbour_ids: ids of each query's k nearest items, without itself, shape (queries, k).
        query_ids: shape (queries,). An id that is in both sets means one image.
        query_labels: class of each query, shape (queries,).
        gallery_ids: unique, shape (items,).
        gallery_labels: class of each item, shape (items,).

    Returns:
        The counts.

    Raises:
        ValueError: a neighbour is not in the gallery, or is the query itself.
    """
    if (neighbour_ids == query_ids[:, None]).any():
        raise ValueError("A query is its own neighbour; remove it by its id before counting.")
    if not np.isin(neighbour_ids, gallery_ids).all():
        raise ValueError("A neighbour is not in the gallery; pass the ids of the gallery that was searched.")
    queries, k = neighbour_ids.shape
    order = np.argsort(gallery_ids)
    places = order[np.searchsorted(gallery_ids, neighbour_ids, sorter=order)]
    bad = gallery_labels[places] != query_labels[:, None]

    others = (query_labels[:, None] != gallery_labels).sum(axis=1)
    available = len(gallery_ids) - np.isin(query_ids, gallery_ids)
    return Hubness(
        k=k,
        queries=queries,
        ids=gallery_ids,
        labels=gallery_labels,
        occurrences=np.bincount(places.ravel(), minlength=len(gallery_ids)).astype(np.int64),
        bad_occurrences=np.bincount(places[bad], minlength=len(gallery_ids)).astype(np.int64),
        available=int(available.min()),
        bad_share_by_chance=float((others / available).mean()),
    )


def expected_counts(hubness: Hubness, largest: int) -> NDArray[np.float64]:
    """Expect how many items random neighbours would give each k-occurrence.

    Where every query draws k of the n items it may find, an item is drawn by each with probability k / n, so that its
    k-occurrence is binomial.

    Args:
        hubness: the measured counts.
        largest: highest k-occurrence to expect.

    Returns:
        Expected number of items with a k-occurrence of 0 … largest, shape (largest + 1,).
    """
    from scipy.stats import binom

    draws, probability = _binomial(hubness)
    return len(hubness.ids) * np.asarray(binom.pmf(np.arange(largest + 1), draws, probability))


def hubness_metrics(hubness: Hubness) -> dict[str, float]:
    """Sum the counts up for the tracker.

    Args:
        hubness: the counts.

    Returns:
        `hubness/skewness` of the k-occurrences; `hubness/antihub_share` and `hubness/hub_share` of the items;
        `hubness/hub_occurrence`, share of all neighbours that are hubs; `hubness/bad_share`, share of all neighbours
        that have another class than their query; `hubness/largest`, the highest k-occurrence. What random neighbours
        would give has the same name and `_by_chance`. The skewness is left out where all items are found equally often.
    """
    from scipy.stats import binom, skew

    draws, probability = _binomial(hubness)
    random = binom(draws, probability)
    found, hubs = hubness.occurrences, hubness.hubs
    metrics = {
        "antihub_share": hubness.antihubs.mean(),
        "antihub_share_by_chance": random.pmf(0),
        "hub_share": hubs.mean(),
        "hub_share_by_chance": random.sf(random.mean() + 2 * random.std()),
        "hub_occurrence": found[hubs].sum() / found.sum(),
        "bad_share": hubness.bad_occurrences.sum() / found.sum(),
        "bad_share_by_chance": hubness.bad_share_by_chance,
        "largest": found.max(),
    }
    if found.min() < found.max():
        metrics |= {"skewness": skew(found), "skewness_by_chance": random.stats(moments="s")}
    return {f"hubness/{name}": float(value) for name, value in metrics.items()}


def hubness_markdown(hubness: Hubness, class_names: Sequence[str], *, limit: int = 10) -> str:
    """Write the counts as tables.

    Args:
        hubness: the counts.
        class_names: by label.
        limit: most hubs to list.

    Returns:
        Markdown without a heading.
    """
    metrics = hubness_metrics(hubness)
    meanings = {
        "skewness": "skewness of the k-occurrences",
        "hub_share": f"hubs: found by more than {hubness.hub_level:.1f} queries (mean + 2 standard deviations)",
        "antihub_share": "antihubs: found by no query",
        "bad_share": "neighbours of another class than the query's",
    }
    rows = [
        (meaning, metrics[f"hubness/{name}"], metrics[f"hubness/{name}_by_chance"])
        for name, meaning in meanings.items()
        if f"hubness/{name}" in metrics
    ]
    largest = biggest_hubs(hubness, limit)
    hubs = [
        (
            f"#{hubness.ids[place]}", class_names[hubness.labels[place]], int(hubness.occurrences[place]),
            int(hubness.bad_occurrences[place]),
        )
        for place in largest
    ]  # fmt: skip
    return "\n".join(
        [
            f"{hubness.queries} queries find {hubness.k} neighbours each among {len(hubness.ids)} images, so an image "
            f"is found by {hubness.occurrences.mean():.1f} queries on average (its k-occurrence).\n",
            table(("figure", "measured", "random neighbours"), rows),
            *(
                [
                    f"Hubs are {metrics['hubness/hub_occurrence']:.1%} of all neighbours found. The largest "
                    f"{len(largest)} of {int(hubness.hubs.sum())}:\n",
                    table(("image", "class", "found by", "of another class"), hubs),
                ]
                if hubs
                else ["There is no hub.\n"]
            ),
        ]
    )


def biggest_hubs(hubness: Hubness, limit: int) -> NDArray[np.int64]:
    """Choose the hubs that are found most often.

    Args:
        hubness: the counts.
        limit: most to choose.

    Returns:
        Their places in `hubness.ids`, the most found first, equals by place, shape (at most limit,).
    """
    order = np.argsort(-hubness.occurrences, kind="stable")
    return order[hubness.hubs[order]][:limit]


def _binomial(hubness: Hubness) -> tuple[int, float]:
    """Give the draws and the probability of an item's k-occurrence under random neighbours; their mean is the true one.

    In leave-one-out an item can be found by all n − 1 queries but itself, each of which draws k of n − 1 items.
    """
    draws = round(hubness.queries * hubness.available / len(hubness.ids))
    return draws, hubness.k / hubness.available
