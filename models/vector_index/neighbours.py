"""What a search returns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.choices import Similarity


@dataclass(frozen=True)
class Neighbours:
    """The nearest vectors of each query, nearest first; equal similarities are ordered by id.

    Attributes:
        similarities: cosines in [-1, 1], or with the metric "l2" Euclidean distances times minus one, so that more is
            nearer with both; float32, shape (queries, k).
        ids: ids of the vectors, int64, shape (queries, k).
        metric: by which they are near.
    """

    similarities: NDArray[np.float32]
    ids: NDArray[np.int64]
    metric: Similarity = "cosine"

    def closeness(self, query: int, place: int) -> str:
        """Write how near a neighbour is, with three decimals: its cosine, or its distance."""
        return closeness(float(self.similarities[query, place]), self.metric)


CLOSENESS: dict[Similarity, str] = {"cosine": "cosine", "l2": "distance"}
"""What `closeness` writes."""


def closeness(similarity: float, metric: Similarity) -> str:
    """Write a similarity as `Neighbours` holds it, with three decimals: a cosine as it is, a distance as one."""
    return f"{similarity if metric == 'cosine' else abs(similarity):.3f}"
