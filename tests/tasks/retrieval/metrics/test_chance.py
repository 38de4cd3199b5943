import itertools
import math

import numpy as np
import pytest

from tasks.retrieval.metrics import chance
from tasks.retrieval.metrics.ranking import evaluate

# Label counts of PneumoniaMNIST, normal and pneumonia.
TEST = np.repeat([0, 1], [234, 390])
TRAIN = np.repeat([0, 1], [1214, 3494])


def test_leave_one_out_level_of_the_test_split():
    level = chance.leave_one_out(TEST, np.arange(624), [1, 5])
    for k in (1, 5):
        assert level.mean(f"precision_at_{k}") == pytest.approx(0.531, abs=6e-4)
        assert level.mean(f"precision_at_{k}", 0) == pytest.approx(233 / 623)
        assert level.mean(f"precision_at_{k}", 1) == pytest.approx(389 / 623)
    assert level.mean("r_precision") == pytest.approx(0.531, abs=6e-4)
    assert level.mean("r_precision", 0) == pytest.approx(233 / 623)
    assert round(level.mean("precision_at_1", 0), 3) == 0.374
    assert round(level.mean("precision_at_1", 1), 3) == 0.624


def test_level_of_the_test_split_in_the_train_split():
    level = chance.from_gallery(TEST, np.arange(624), TRAIN, [1])
    assert round(level.mean("precision_at_1"), 3) == 0.561
    assert round(level.mean("precision_at_1", 0), 3) == 0.258
    assert round(level.mean("precision_at_1", 1), 3) == 0.742


def test_figures_of_a_class_that_the_gallery_lacks_are_undefined():
    level = chance.from_gallery(np.array([0, 1]), np.array([8, 9]), np.ones(5, dtype=int), [1])
    assert (
        np.isnan(level.values["r_precision"]).tolist()
        == np.isnan(level.values["average_precision"]).tolist()
        == [True, False]
    )
    assert level.values["precision_at_1"].tolist() == [0, 1]


def test_random_vectors_score_the_leave_one_out_level():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [20, 30])
    ids = np.arange(50)
    level = chance.leave_one_out(labels, ids, [1, 5])
    runs = []
    for _ in range(300):
        vectors = generator.normal(size=(50, 8))
        result = evaluate(vectors, labels, vectors, labels, ids, ids, [1, 5])
        runs.append((result.mean("precision_at_5"), result.mean("r_precision", 0), result.mean("average_precision")))
    expected = (level.mean("precision_at_5"), level.mean("r_precision", 0), level.mean("average_precision"))
    spread = np.std(runs, axis=0) / np.sqrt(len(runs))
    assert (np.abs(np.mean(runs, axis=0) - expected) < 4 * spread).all()
    assert spread.max() < 0.005  # so that the comparison means something


def test_random_vectors_score_the_gallery_level():
    generator = np.random.default_rng(1)
    labels, gallery_labels = np.repeat([0, 1], [10, 10]), np.repeat([0, 1], [12, 48])
    ids, gallery_ids = np.arange(20), np.arange(20, 80)
    level = chance.from_gallery(labels, ids, gallery_labels, [3])
    runs = []
    for _ in range(300):
        vectors, gallery = generator.normal(size=(20, 8)), generator.normal(size=(60, 8))
        result = evaluate(vectors, labels, gallery, gallery_labels, ids, gallery_ids, [3])
        runs.append((result.mean("precision_at_3"), result.mean("hit_at_3", 0), result.mean("average_precision", 0)))
    expected = (level.mean("precision_at_3"), level.mean("hit_at_3", 0), level.mean("average_precision", 0))
    spread = np.std(runs, axis=0) / np.sqrt(len(runs))
    assert (np.abs(np.mean(runs, axis=0) - expected) < 4 * spread).all()
    assert spread.max() < 0.01


def test_graded_levels_are_the_means_over_all_orders():
    """Of few items, so that every order can be looked at."""
    grades, k = [0, 1, 2, 2, 0], 3
    found = chance.leave_one_out(np.array(grades), np.arange(5), [k], grades=3).values["ndcg_at_3"]
    in_gallery = chance.from_gallery(np.array(grades), np.arange(5), np.array(grades), [k], grades=3)
    for query, grade in enumerate(grades):
        gains = [2 - abs(grade - other) for other in grades]
        others = gains[:query] + gains[query + 1 :]
        assert found[query] == pytest.approx(_mean_over_orders(others, k))
        assert in_gallery.values["ndcg_at_3"][query] == pytest.approx(_mean_over_orders(gains, k))


def _mean_over_orders(gains, k):
    def discounted(order):
        return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(order[:k]))

    best = discounted(sorted(gains, reverse=True))
    orders = list(itertools.permutations(gains))
    return sum(discounted(order) / best for order in orders) / len(orders)
