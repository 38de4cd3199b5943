"""The paired bootstrap against a naive loop, and what it lets become champion."""

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight

from models.errors import InputError
from tasks.classification.promotion import compare
from tasks.shared.bootstrap import resample


def _probabilities(rng, labels, classes, sharpness):
    scores = rng.normal(size=(len(labels), classes)) + sharpness * np.eye(classes)[labels]
    values = np.exp(scores)
    values /= values.sum(axis=1, keepdims=True)
    return values[:, 1] if classes == 2 else values


def _balanced_loss(probabilities, labels):
    return log_loss(labels, probabilities, sample_weight=compute_sample_weight("balanced", labels))


@pytest.mark.parametrize("classes", [2, 4])
def test_difference_and_interval_equal_a_naive_loop(classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 80)
    labels[:classes] = np.arange(classes)
    challenger, champion = (_probabilities(rng, labels, classes, sharpness) for sharpness in (2.0, 1.5))
    found = compare(challenger, champion, labels, samples=60, seed=3)
    differences = [
        _balanced_loss(champion[drawn], labels[drawn]) - _balanced_loss(challenger[drawn], labels[drawn])
        for drawn in resample(len(labels), 60, 3)
    ]
    assert found.difference == pytest.approx(
        _balanced_loss(champion, labels) - _balanced_loss(challenger, labels), abs=1e-9
    )
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])), abs=1e-9)


def test_a_value_worked_out_by_hand():
    # Class 0 improves by log 2 on its one image; class 1 by log 3 on one image of two: (log 2 + log 3 / 2) / 2.
    champion, challenger, labels = np.array([0.5, 0.3, 0.9]), np.array([0.0, 0.9, 0.9]), np.array([0, 1, 1])
    found = compare(challenger, champion, labels, samples=50, seed=0)
    assert found.difference == pytest.approx((np.log(2) + np.log(3) / 2) / 2)


def test_only_what_is_better_beyond_chance_is_promoted():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 400)
    champion = _probabilities(rng, labels, 2, 2.0)
    better = np.clip(champion + 0.5 * (labels - champion), 0, 1)
    found = compare(better, champion, labels, samples=500, seed=0)
    assert found.promoted
    assert found.low > 0
    assert found.reason.startswith("Better than the champion")
    back = compare(champion, better, labels, samples=500, seed=0)
    assert not back.promoted
    assert back.high < 0
    as_good = np.clip(champion + rng.normal(0, 1e-3, 400), 1e-3, 1 - 1e-3)
    assert not compare(as_good, champion, labels, samples=500, seed=0).promoted
    assert not compare(champion, champion, labels, samples=500, seed=0).promoted


def test_the_rare_class_counts_as_much_as_the_frequent_one():
    labels = np.array([0] * 10 + [1] * 90)
    champion = np.full(100, 0.5)
    challenger = np.where(labels == 1, 0.6, 0.8)  # gains log 1.2 on 90 images, loses log 2.5 on 10
    gain = np.log(0.6 / 0.5), np.log(0.2 / 0.5)
    assert 0.9 * gain[0] + 0.1 * gain[1] > 0  # the plain mean would promote it
    found = compare(challenger, champion, labels, samples=200, seed=0)
    assert found.difference == pytest.approx(sum(gain) / 2)
    assert not found.promoted


def test_a_sure_error_keeps_the_loss_finite():
    labels = np.array([0, 1, 0, 1])
    found = compare(np.array([1.0, 0.0, 0.0, 1.0]), np.full(4, 0.5), labels, samples=50, seed=0)
    assert np.isfinite([found.difference, found.low, found.high]).all()
    assert not found.promoted


@pytest.mark.parametrize(
    ("challenger", "champion", "labels", "told"),
    [
        (np.full(3, 0.5), np.full(4, 0.5), np.array([0, 1, 0]), "same images and classes"),
        (np.full((3, 3), 1 / 3), np.full(3, 0.5), np.array([0, 1, 0]), "same images and classes"),
        (np.full(3, 0.5), np.full(3, 0.5), np.array([1, 1, 1]), "needs every class from 0 to 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(challenger, champion, labels, told):
    with pytest.raises(InputError, match=told):
        compare(challenger, champion, labels, samples=50, seed=0)
