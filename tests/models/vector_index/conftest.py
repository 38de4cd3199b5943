import numpy as np
import pytest


@pytest.fixture(scope="session")
def naive_search():
    def search(vectors, ids, query, k, own=None, allowed=None, metric="cosine"):
        """Ids and similarities of the nearest, by a loop in float64: falling similarity, then id."""
        found = []
        for vector, number in zip(np.asarray(vectors, dtype=float), ids, strict=True):
            if number == own or (allowed is not None and number not in allowed):
                continue
            if metric == "cosine":
                similarity = float(vector @ query / np.linalg.norm(vector) / np.linalg.norm(query))
            else:
                similarity = -float(np.linalg.norm(vector - query))
            found.append((-round(similarity, 6), int(number), similarity))
        found.sort()
        return [number for _, number, _ in found[:k]], [similarity for _, _, similarity in found[:k]]

    return search


@pytest.fixture(scope="session")
def clustered():
    """Draw vectors around 20 centres with the centre as label."""

    def draw(count, seed=0, dimension=16):
        centres = np.random.default_rng(100).normal(size=(20, dimension))
        generator = np.random.default_rng(seed)
        labels = generator.integers(20, size=count)
        return (centres[labels] + 0.5 * generator.normal(size=(count, dimension))).astype(np.float32), labels

    return draw
