import numpy as np
import pytest

from models.errors import InputError
from tasks.retrieval.metrics import conditioned


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], [25, 35])[generator.permutation(60)]
    predicted = np.where(generator.random(60) < 0.2, 1 - labels, labels)
    return generator.normal(size=(60, 6)), labels, predicted, generator.permutation(200)[:60]


def naive_precision(vectors, labels, searched, ids, k):
    """Search each query among the other items of one class."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = []
    for query in range(len(vectors)):
        found = [
            (-float(unit[query] @ unit[item]), item)
            for item in range(len(vectors))
            if labels[item] == searched[query] and ids[item] != ids[query]
        ]
        values.append(np.mean([labels[item] == labels[query] for _, item in sorted(found)[:k]]))
    return values


def evaluated(data, searched, k_values=(1, 5)):
    vectors, labels, _, ids = data
    return conditioned.evaluate(vectors, labels, searched, vectors, labels, ids, ids, k_values)


def test_search_in_the_predicted_class_agrees_with_a_naive_loop(data):
    vectors, labels, predicted, ids = data
    result = evaluated(data, predicted)
    np.testing.assert_array_equal(result.query_ids, ids)
    for k in (1, 5):
        np.testing.assert_array_equal(
            result.values[f"precision_at_{k}"], naive_precision(vectors, labels, predicted, ids, k)
        )


def test_every_figure_equals_the_accuracy_of_the_classifier(data):
    _, labels, predicted, _ = data
    result = evaluated(data, predicted)
    right = predicted == labels
    assert 0 < right.mean() < 1
    assert len(result.values) >= 6
    for values in result.values.values():
        np.testing.assert_array_equal(values, right)


def test_search_in_the_true_class_is_right_by_construction(data):
    result = evaluated(data, data[1])
    assert result.mean("precision_at_5") == result.mean("hit_at_1") == 1
    assert result.mean("r_precision") == result.mean("average_precision") == 1


def test_the_query_is_not_among_its_neighbours(data):
    # 24 others of class 0 remain for a query of class 0.
    assert evaluated(data, data[1], [24]).mean("precision_at_24") == 1
    with pytest.raises(InputError, match="24 items"):
        evaluated(data, data[1], [25])


def test_the_last_of_its_class_has_nothing_to_find():
    vectors, labels, ids = np.random.default_rng(1).normal(size=(4, 3)), np.array([0, 0, 0, 1]), np.arange(4)
    result = conditioned.evaluate(vectors, labels, np.zeros(4, dtype=int), vectors, labels, ids, ids, [1])
    for values in (result.values["r_precision"], result.values["average_precision"]):
        assert values[:3].tolist() == [1, 1, 1]
        assert np.isnan(values[3])


def test_a_query_outside_the_gallery_misses_the_only_item_of_its_class():
    vectors, labels = np.random.default_rng(2).normal(size=(4, 3)), np.array([0, 0, 0, 1])
    ids, gallery_ids = np.arange(4), np.arange(10, 14)
    result = conditioned.evaluate(vectors, labels, np.zeros(4, dtype=int), vectors, labels, ids, gallery_ids, [1])
    assert result.values["r_precision"].tolist() == result.values["average_precision"].tolist() == [1, 1, 1, 0]
