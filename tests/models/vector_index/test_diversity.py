import numpy as np
import pytest

from models.vector_index import normalize
from models.vector_index.diversity import diversify


def naive(query, candidates, k, diversity):
    """Maximal marginal relevance as Carbonell and Goldstein write it, with a loop over what was chosen."""

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    chosen = []
    while len(chosen) < k:
        left = [i for i in range(len(candidates)) if i not in chosen]
        scores = [
            (1 - diversity) * cosine(query, candidates[i])
            - diversity * max((cosine(candidates[i], candidates[j]) for j in chosen), default=0)
            for i in left
        ]
        chosen.append(left[int(np.argmax(scores))])
    return chosen


def near_first(query, vectors):
    return vectors[np.argsort(-(normalize(vectors) @ normalize(query[None])[0]), kind="stable")]


@pytest.mark.parametrize("diversity", [0.2, 0.5, 0.8])
def test_it_agrees_with_a_naive_loop(diversity):
    generator = np.random.default_rng(0)
    for _ in range(5):
        query, vectors = generator.normal(size=12), generator.normal(size=(40, 12))
        candidates = near_first(query, vectors)
        assert diversify(query, candidates, 10, diversity).tolist() == naive(query, candidates, 10, diversity)


def test_without_diversity_the_nearest_stay_in_their_order():
    candidates = np.random.default_rng(1).normal(size=(9, 4))
    assert diversify(candidates[3], candidates, 5, 0).tolist() == [0, 1, 2, 3, 4]


def test_a_copy_gives_way_to_something_else():
    query = np.array([1.0, 0.0])
    candidates = np.array([[1.0, 0.1], [1.0, 0.1], [1.0, 0.2], [0.6, -0.8]])
    assert diversify(query, candidates, 2, 0.0).tolist() == [0, 1]
    assert diversify(query, candidates, 2, 0.5).tolist() == [0, 3]


def test_all_diversity_begins_with_the_nearest_and_chooses_none_twice():
    candidates = near_first(np.ones(6), np.random.default_rng(2).normal(size=(20, 6)))
    chosen = diversify(np.ones(6), candidates, 20, 1.0).tolist()
    assert chosen[0] == 0
    assert sorted(chosen) == list(range(20))
