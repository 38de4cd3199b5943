import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tasks.retrieval.analyses.neighbour_evidence import (
    BOTH,
    CONFIDENCE,
    SUPPORT,
    detect_errors,
    evidence_markdown,
    evidence_metrics,
    support,
)
from tasks.shared.bootstrap import resample
from tasks.shared.estimates import UNKNOWN


def test_support_is_the_softmax_weight_of_the_called_class():
    similarities = np.array([[0.9, 0.8, 0.5], [0.7, 0.7, 0.6]])
    labels = np.array([[1, 0, 1], [0, 0, 1]])
    found = support(similarities, labels, np.array([1, 1]), temperature=0.1)
    first = math.exp(9) + math.exp(5)
    assert found[0] == pytest.approx(first / (first + math.exp(8)))
    assert found[1] == pytest.approx(math.exp(6) / (math.exp(6) + 2 * math.exp(7)))
    # A high temperature counts heads.
    assert support(similarities, labels, np.array([1, 1]), temperature=1e6) == pytest.approx([2 / 3, 1 / 3], abs=1e-5)


def test_neighbours_of_one_mind_give_exactly_one_or_nothing():
    similarities = np.sort(np.random.default_rng(0).random((200, 50)).astype(np.float32))[:, ::-1]
    labels = np.ones((200, 50), dtype=int)
    assert (support(similarities, labels, np.ones(200, dtype=int)) == 1).all()  # so that they tie
    assert (support(similarities, labels, np.zeros(200, dtype=int)) == 0).all()


@pytest.fixture(scope="module")
def scores():
    generator = np.random.default_rng(1)
    wrong = generator.random(80) < 0.25
    confidence = np.round(np.clip(generator.normal(0.8 - 0.15 * wrong, 0.15), 0, 1), 1)  # with ties
    supports = np.round(np.clip(generator.normal(0.8 - 0.3 * wrong, 0.2), 0, 1), 1)
    return confidence, supports, wrong


def test_areas_and_paired_intervals_are_those_of_a_naive_bootstrap(scores):
    confidence, supports, wrong = scores
    signs = {CONFIDENCE: confidence, SUPPORT: supports, BOTH: confidence * supports}
    found = detect_errors(*scores, samples=100, seed=3)
    drawn = {
        name: np.array([roc_auc_score(wrong[sample], -sign[sample]) for sample in resample(80, 100, seed=3)])
        for name, sign in signs.items()
    }
    for name, sign in signs.items():
        area = roc_auc_score(wrong, -sign)
        assert found.areas[name].value == pytest.approx(area)
        assert found.areas[name][1:3] == pytest.approx(np.percentile(drawn[name], [2.5, 97.5]))
    for name in (SUPPORT, BOTH):
        gain = found.gains[name]
        assert gain.value == pytest.approx(found.areas[name].value - found.areas[CONFIDENCE].value)
        assert gain[1:3] == pytest.approx(np.percentile(drawn[name] - drawn[CONFIDENCE], [2.5, 97.5]))
    metrics = evidence_metrics(found)
    assert metrics["evidence/errors"] == wrong.sum()
    assert metrics["evidence/auroc_neighbours"] == found.areas[SUPPORT].value
    assert metrics["evidence/gain_both_ci_high"] == found.gains[BOTH].high
    assert f"{found.areas[BOTH].value:.3f} (" in evidence_markdown(found)


def test_areas_under_risk_are_those_of_a_naive_loop():
    generator = np.random.default_rng(2)
    confidence, supports, wrong = generator.random(40), generator.random(40), generator.random(40) < 0.3
    found = detect_errors(confidence, supports, wrong, samples=5, seed=0)
    for name, sign in ((CONFIDENCE, confidence), (SUPPORT, supports), (BOTH, confidence * supports)):
        errors, risks = 0, []
        for kept, index in enumerate(sorted(range(40), key=lambda place: -sign[place]), start=1):
            errors += int(wrong[index])
            risks.append(errors / kept)
        assert evidence_metrics(found)[f"evidence/aurc_{name}"] == pytest.approx(sum(risks) / 40)
        assert f"| {sum(risks) / 40:.4f} |" in evidence_markdown(found)
    least = sum(max(0, 1 - (~wrong).sum() / kept) for kept in range(1, 41)) / 40
    assert f"{least:.4f} is the least that {wrong.sum()} errors allow" in evidence_markdown(found)


def test_a_sign_that_knows_all_has_area_one_and_one_that_is_mistaken_nought():
    wrong = np.array([True, False, False, True])
    found = detect_errors(np.array([0.9, 0.5, 0.6, 0.8]), np.array([0.1, 1, 1, 0.2]), wrong, samples=20, seed=0)
    assert found.areas[CONFIDENCE].value == 0
    assert found.areas[SUPPORT].value == found.areas[BOTH].value == found.gains[BOTH].value == 1


def test_bootstrap_samples_without_errors_are_left_out():
    wrong = np.arange(30) == 0  # more than a third of the samples do not hold the one error
    found = detect_errors(np.linspace(0, 1, 30), np.linspace(0, 1, 30), wrong, samples=50, seed=0)
    assert found.areas[CONFIDENCE][:3] == (1, 1, 1)


@pytest.mark.parametrize("wrong", [np.zeros(5, dtype=bool), np.ones(5, dtype=bool)])
def test_without_errors_or_right_calls_nothing_is_claimed(wrong):
    found = detect_errors(np.linspace(0, 1, 5), np.linspace(0, 1, 5), wrong, samples=10, seed=0)
    assert all(rate is UNKNOWN for rate in (*found.areas.values(), *found.gains.values()))
    # Whatever the order, all or none of those that are kept are wrong.
    risks = {f"evidence/aurc_{name}": wrong.mean() for name in (CONFIDENCE, SUPPORT, BOTH)}
    assert evidence_metrics(found) == {"evidence/errors": wrong.sum()} | risks
    assert evidence_markdown(found).startswith(f"{wrong.sum()} of 5 images")
