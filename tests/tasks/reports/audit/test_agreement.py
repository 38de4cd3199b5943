import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from tasks.reports.audit.agreement import agreement_with_classifier, cohens_kappa, holm, label_scores
from tests.tasks.shared.test_estimates import wilson

P, N = "pneumonia", "normal"


def test_scores_of_a_hand_made_set():
    """No rate is a half, which those who are wrong would have too."""
    scores = label_scores([P, P, P, P, N, None, N, P, None], [P, P, P, P, P, P, N, N, N])
    assert {name: (rate.value, rate.n) for name, rate in scores.items()} == {
        "label_accuracy": (5 / 9, 9),
        "sensitivity": (4 / 6, 6),
        "specificity": (1 / 3, 3),
    }
    assert (scores["sensitivity"].low, scores["sensitivity"].high) == pytest.approx(wilson(4, 6))


def test_a_class_that_is_missing_leaves_its_score_unknown():
    scores = label_scores([P, N], [P, P])
    assert scores["sensitivity"].value == 0.5
    assert math.isnan(scores["specificity"].value)


def test_the_four_way_table_and_the_share_that_agrees():
    reports, classifier = [P, P, N, None, N, P], [P, N, P, P, N, N]
    truths = [P, P, P, P, P, N]
    result = agreement_with_classifier(reports, classifier, truths)
    assert (result.both_right, result.only_report_right) == (1, 1)
    assert (result.only_classifier_right, result.both_wrong) == (3, 1)
    assert (result.agreement.value, result.agreement.n) == (2 / 6, 6)


@pytest.mark.parametrize(
    ("only_report", "only_classifier", "p"),
    [(0, 0, 1.0), (0, 5, 2 / 32), (5, 0, 2 / 32), (1, 5, 2 * 7 / 64), (3, 3, 1.0)],
)
def test_mcnemar_is_exact(only_report: int, only_classifier: int, p: float):
    """The binomial tail by hand: one of six apart gives 2 (1 + 6) / 2⁶."""
    reports = [P] * only_report + [N] * only_classifier + [P] * 4
    classifier = [N] * only_report + [P] * only_classifier + [P] * 4
    assert agreement_with_classifier(reports, classifier, [P] * len(reports)).mcnemar_p == pytest.approx(p)


def test_kappa_by_hand():
    """Observed agreement 5 of 8; expected 4·4 + 3·2 + 1·2 of 64."""
    first, second = [P, P, P, P, N, N, N, None], [P, P, P, N, N, None, P, None]
    expected = (4 * 4 + 3 * 2 + 1 * 2) / 64
    kappa = cohens_kappa(first, second)
    assert kappa.value == pytest.approx((5 / 8 - expected) / (1 - expected))
    assert kappa.low < kappa.value < kappa.high
    assert kappa.n == 8


@pytest.mark.parametrize("seed", range(5))
def test_kappa_agrees_with_scikit_learn(seed: int):
    random = np.random.default_rng(seed)
    first, second = ([[P, N, None][i] for i in random.integers(0, 3, 40)] for _ in range(2))
    reference = cohen_kappa_score([str(label) for label in first], [str(label) for label in second])
    assert cohens_kappa(first, second).value == pytest.approx(reference)


def test_kappa_at_its_ends():
    assert cohens_kappa([P, N, P, N], [P, N, P, N]).value == 1
    assert cohens_kappa([P, N, P, N], [N, P, N, P]).value == -1
    assert math.isnan(cohens_kappa([P, P], [P, P]).value)
    assert cohens_kappa([P, P], [P, P]).n == 0
    assert math.isnan(cohens_kappa([], []).value)


def test_holm_by_hand():
    """Sorted .01, .02, .03 are multiplied by 4, 3, 2 and never fall; .5 stays."""
    adjusted = holm({"a": 0.02, "b": 0.5, "c": 0.01, "d": 0.03})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert adjusted == pytest.approx({"a": 0.06, "b": 0.5, "c": 0.04, "d": 0.06})
    assert holm({}) == {}
    assert holm({"alone": 0.04}) == pytest.approx({"alone": 0.04})
