import numpy as np

from tasks.shared.domain_auc import MOST, domain_auc, unit_vectors


def test_domains_are_told_apart_only_where_they_differ():
    random = np.random.default_rng(2)
    # More dimensions than points: on points it was fitted to, any linear classifier would be perfect.
    same = domain_auc(random.normal(0, 1, (60, 100)), random.normal(0, 1, (60, 100)), seed=0)
    assert 0.35 < same.value < 0.65
    assert domain_auc(random.normal(0, 1, (60, 100)), random.normal(0.5, 1, (60, 100)), seed=0).value > 0.95
    assert np.isnan(domain_auc(np.ones((3, 2)), np.ones((9, 2)), seed=0).value)


def test_as_many_as_are_compared_are_taken_and_each_gets_the_length_one():
    vectors = np.arange(1.0, 2 * MOST + 7).reshape(-1, 2)
    taken = unit_vectors(vectors, np.ones(len(vectors), bool), seed=0)
    assert taken.shape == (MOST, 2)
    np.testing.assert_allclose(np.linalg.norm(taken, axis=1), 1)
    few = unit_vectors(vectors, np.arange(len(vectors)) == 1, seed=0)
    np.testing.assert_allclose(few, [[0.6, 0.8]])
