import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tasks.shared.auc import auc_of_counts, auc_with_interval, macro_auc, tied_counts


def test_the_area_is_sklearns_and_the_interval_delongs():
    random = np.random.default_rng(0)
    low, high = random.integers(0, 8, 40), random.integers(3, 11, 25)  # with ties
    wins = np.array([[1.0 if h > other else 0.5 if h == other else 0.0 for other in low] for h in high])
    area = wins.mean()
    error = math.sqrt(wins.mean(axis=1).var(ddof=1) / 25 + wins.mean(axis=0).var(ddof=1) / 40)
    found = auc_with_interval(low, high)
    labels = np.repeat([0, 1], [40, 25])
    assert found.value == pytest.approx(roc_auc_score(labels, np.concatenate([low, high])))
    assert found.n == 65
    assert (found.low, found.high) == pytest.approx((area - 1.96 * error, area + 1.96 * error))


def test_too_few_cases_leave_the_bounds_or_all_unknown():
    one = auc_with_interval(np.array([1.0]), np.array([2.0, 3.0]))
    assert one.value == 1 and math.isnan(one.low)
    assert math.isnan(auc_with_interval(np.array([]), np.array([1.0])).value)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_mean_over_the_classes_is_sklearns(classes):
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(80) % classes)
    weights = random.integers(1, 4, (80, classes)) + 2 * np.eye(classes)[labels]  # with ties
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    scores = probabilities[:, 1] if classes == 2 else probabilities
    assert macro_auc(probabilities, labels) == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))


def test_the_area_of_every_sample_is_sklearns():
    random = np.random.default_rng(1)
    scores, positive = random.integers(0, 6, 30) / 5, random.random(30) < 0.4  # with ties
    counts = random.integers(0, 3, (5, 30)).astype(np.float64)
    expected = [roc_auc_score(positive, scores, sample_weight=sample) for sample in counts]
    assert auc_of_counts(*tied_counts(scores, positive, counts)) == pytest.approx(expected)
    assert np.isnan(auc_of_counts(*tied_counts(scores, positive, positive[None] * 1.0)))
