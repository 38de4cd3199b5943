"""The paired bootstrap of two indices against a naive loop, and what counts as no worse."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from models.errors import InputError
from tasks.retrieval.published.index_comparison import compare, leave_one_out
from tasks.shared.bootstrap import resample


def _vectors(rng, labels, sharpness, dimension=8):
    return rng.normal(size=(len(labels), dimension)) + sharpness * np.eye(dimension)[labels]


def _average_precision(vectors, labels):
    """Rank all others for each image, one by one, and score the ranking by scikit-learn."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for query in range(len(labels)):
        others = np.arange(len(labels)) != query
        found.append(average_precision_score(labels[others] == labels[query], unit[others] @ unit[query]))
    return np.array(found)


def _balanced(values, labels):
    return np.mean([values[labels == label].mean() for label in (0, 1)])


def test_difference_and_interval_equal_a_naive_loop():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1], [15, 45]))
    new, in_use = _vectors(rng, labels, 1.0), _vectors(rng, labels, 0.8, dimension=5)
    found = compare(new, in_use, labels, samples=80, seed=3)
    precisions = [_average_precision(vectors, labels) for vectors in (new, in_use)]
    np.testing.assert_allclose(leave_one_out(new, labels), precisions[0], atol=1e-9)
    differences = [
        _balanced(precisions[0][drawn], labels[drawn]) - _balanced(precisions[1][drawn], labels[drawn])
        for drawn in resample(len(labels), 80, 3)
    ]
    assert found.measured.difference == pytest.approx(
        _balanced(precisions[0], labels) - _balanced(precisions[1], labels)
    )
    assert (found.measured.low, found.measured.high) == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])))


def test_worse_beyond_chance_is_worse_and_as_good_is_not():
    rng = np.random.default_rng(1)
    labels = np.arange(120) % 2
    good, bad = _vectors(rng, labels, 2.0), _vectors(rng, labels, 0.3)
    worse = compare(bad, good, labels, samples=200, seed=0)
    assert not worse.no_worse
    assert worse.measured.high < 0
    assert worse.reason.startswith("Worse than the index in use on validation, leave-one-out: class-balanced mAP 0.")
    as_good = compare(good + rng.normal(0, 0.01, good.shape), good, labels, samples=200, seed=0)
    assert as_good.no_worse
    assert as_good.measured.low < 0 < as_good.measured.high
    same = compare(good, good, labels, samples=200, seed=0)
    assert (same.no_worse, same.measured.difference) == (True, 0)
    assert same.reason.startswith("No worse than the index in use")


def test_the_only_image_of_a_class_is_left_out():
    rng = np.random.default_rng(2)
    labels = np.array([0] * 10 + [1])
    new, in_use = _vectors(rng, labels, 1), _vectors(rng, labels, 1)
    assert np.isnan(leave_one_out(new, labels)).tolist() == [False] * 10 + [True]
    expected = np.mean([_average_precision(new, labels)[:10] - _average_precision(in_use, labels)[:10]])
    assert compare(new, in_use, labels, samples=50, seed=0).measured.difference == pytest.approx(expected)
    with pytest.raises(InputError, match="No class has two validation images"):
        compare(_vectors(rng, labels[9:], 1), _vectors(rng, labels[9:], 1), labels[9:], samples=50, seed=0)
