import math
import time
import warnings

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from tasks.reports.audit.scores import probability_scores
from tasks.shared.bootstrap import interval, resample


def made_up(seed: int, size: int = 50):
    random = np.random.default_rng(seed)
    labels = random.random(size) < 0.6
    return np.clip(random.normal(0.4 + 0.2 * labels, 0.25), 0, 1).round(1 if seed % 2 else 12), labels


@pytest.mark.parametrize("seed", range(4))
def test_scores_and_intervals_agree_with_scikit_learn(seed: int):
    probabilities, labels = made_up(seed)
    scores = probability_scores(probabilities, labels, samples=50, seed=seed)
    for name, reference in (("auc", roc_auc_score), ("brier", brier_score_loss)):
        assert scores[name].value == pytest.approx(reference(labels, probabilities))
        drawn = np.array([reference(labels[rows], probabilities[rows]) for rows in resample(50, 50, seed)])
        assert (scores[name].low, scores[name].high) == pytest.approx(interval(drawn))
        assert scores[name].n == 50


def test_the_calibration_error_by_hand():
    ece = probability_scores(np.array([0.01, 0.03, 0.5, 0.99]), np.array([False, True, True, True]))["ece"]
    assert ece.value == pytest.approx((2 * 0.48 + 0.5 + 0.01) / 4)
    assert ece.low <= ece.value <= ece.high


def test_one_class_has_no_ranking_but_an_error():
    scores = probability_scores(np.array([0.8, 0.6]), np.array([True, True]))
    assert math.isnan(scores["auc"].value)
    assert scores["brier"].value == pytest.approx((0.04 + 0.16) / 2)


def test_no_cases_have_no_scores():
    with warnings.catch_warnings(action="error"):
        scores = probability_scores(np.array([]), np.array([], dtype=bool))
    assert list(scores) == ["auc", "ece", "brier"]
    assert all(math.isnan(rate.value) and rate.n == 0 for rate in scores.values())


def test_the_test_split_is_quick():
    started = time.thread_time()  # of the processor: a busy machine does not count
    probability_scores(*made_up(0, 624))
    assert time.thread_time() - started < 3
