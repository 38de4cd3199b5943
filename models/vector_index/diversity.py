"""Neighbours that are not all alike: maximal marginal relevance.

Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing summaries",
1998.
"""

import numpy as np
from numpy.typing import NDArray

from models.vector_index.normalization import normalize


def diversify(
    query: NDArray[np.floating], candidates: NDArray[np.floating], k: int, diversity: float
) -> NDArray[np.int64]:
    """Choose candidates one by one, each near the query and unlike those chosen before it.

    Args:
        query: shape (dimensions,).
        candidates: nearest first, shape (candidates, dimensions).
        k: how many to choose, at most the number of candidates.
        diversity: weight of the largest cosine with what was chosen, against that of the cosine with the query; in
            [0, 1].

    Returns:
        Positions of the chosen candidates, in the order in which they were chosen, shape (k,); of equal ones the
        nearer comes first.

    Raises:
        InputError: a vector has no direction.
    """
    if diversity == 0:
        return np.arange(k, dtype=np.int64)
    vectors = normalize(candidates)
    relevance = (1 - diversity) * (vectors @ normalize(query[None])[0])
    redundancy = np.zeros(len(vectors), dtype=np.float32)
    left = np.ones(len(vectors), dtype=bool)
    chosen: list[int] = []
    for number in range(k):
        score = np.where(left, relevance - diversity * redundancy, -np.inf)
        best = int(score.argmax()) if number else 0  # nothing is before the first: it is the nearest
        chosen.append(best)
        left[best] = False
        alike = vectors @ vectors[best]
        redundancy = alike if number == 0 else np.maximum(redundancy, alike)
    return np.array(chosen, dtype=np.int64)
