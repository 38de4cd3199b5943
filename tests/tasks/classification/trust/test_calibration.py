from typing import get_args

import numpy as np
import pytest
from scipy.special import expit, log_expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from models.errors import InputError
from tasks.classification.trust.calibration import (
    RULES,
    best_accuracy_threshold,
    by_class,
    calibrated_probabilities,
    candidate_thresholds,
    choose_threshold,
    decide,
    fit_temperature,
)
from tasks.parameters.evaluation import EvaluationParameters


def case(seed, size=200, sharpness=3.0):
    random = np.random.default_rng(seed)
    labels = (random.random(size) < 0.7).astype(np.int64)
    return (sharpness * (random.normal(size=size) + 1.5 * labels - 0.8)), labels


def log_loss(logits, labels, temperature):
    return -np.mean(log_expit(np.where(labels == 1, logits, -logits) / temperature))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sharpness", [0.3, 3.0])
def test_temperature_is_the_best_of_a_fine_grid(seed, sharpness):
    logits, labels = case(seed, sharpness=sharpness)
    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 4001))
    best = grid[np.argmin([log_loss(logits, labels, temperature) for temperature in grid])]
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=2e-3)


def test_temperature_undoes_a_known_scaling():
    random = np.random.default_rng(0)
    true_logits = random.normal(size=20000) * 2
    labels = (random.random(20000) < expit(true_logits)).astype(np.int64)
    temperature = fit_temperature(true_logits * 3, labels)
    assert temperature == pytest.approx(3, rel=0.05)
    np.testing.assert_allclose(calibrated_probabilities(true_logits * 3, 3.0), expit(true_logits))


def test_temperature_of_two_logits_is_that_of_their_difference():
    logits, labels = case(0)
    pair = np.column_stack([0.7 - logits / 2, 0.7 + logits / 2])
    assert fit_temperature(pair, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-5)


def test_temperature_of_more_classes_is_the_best_of_a_fine_grid():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 300)
    logits = 3 * (random.normal(size=(300, 4)) + np.eye(4)[labels])

    def reference(temperature):
        exponentials = np.exp(logits / temperature)
        return -np.mean(np.log([row[label] / row.sum() for row, label in zip(exponentials, labels, strict=True)]))

    grid = np.exp(np.linspace(np.log(0.5), np.log(20), 801))
    best = grid[np.argmin([reference(temperature) for temperature in grid])]
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=5e-3)
    exponentials = np.exp(logits / 2)
    np.testing.assert_allclose(
        calibrated_probabilities(logits, 2.0), exponentials / exponentials.sum(axis=1, keepdims=True)
    )


def test_decisions_follow_the_threshold_or_the_likeliest_class():
    assert decide(np.array([0.2, 0.6, 0.7]), 0.6).tolist() == [0, 1, 1]
    assert decide(np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]), None).tolist() == [1, 0]
    with pytest.raises(InputError, match="more classes have none"):
        decide(np.array([[0.2, 0.5, 0.3]]), 0.5)


def test_every_class_has_a_column():
    np.testing.assert_allclose(by_class(np.array([0.2, 0.9])), [[0.8, 0.2], [0.1, 0.9]])
    three = np.array([[0.2, 0.5, 0.3]])
    assert by_class(three) is three


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("decimals", [2, 8])
def test_balanced_accuracy_threshold_is_the_best_there_is(seed, decimals):
    logits, labels = case(seed, size=60)
    probabilities = expit(logits).round(decimals)
    threshold = choose_threshold(probabilities, labels, "balanced_accuracy")
    candidates = np.concatenate([[0], np.unique(probabilities), [1.1]])
    best = max(balanced_accuracy_score(labels, probabilities >= candidate) for candidate in candidates)
    assert balanced_accuracy_score(labels, probabilities >= threshold) == pytest.approx(best)
    oracle = best_accuracy_threshold(probabilities, labels)
    best = max(accuracy_score(labels, probabilities >= candidate) for candidate in candidates)
    assert accuracy_score(labels, probabilities >= oracle) == pytest.approx(best)


def test_of_equal_thresholds_the_middle_of_the_widest_run_is_taken():
    # Best anywhere in (0.10, 0.20] and in (0.30, 0.90]: the second is wider.
    probabilities = np.array([0.05, 0.10, 0.20, 0.30, 0.90, 0.95])
    labels = np.array([0, 0, 1, 0, 1, 1])
    scores = [balanced_accuracy_score(labels, probabilities >= threshold) for threshold in (0.15, 0.6)]
    assert scores[0] == scores[1] == pytest.approx(5 / 6)
    assert choose_threshold(probabilities, labels, "balanced_accuracy") == pytest.approx(0.6)


@pytest.mark.parametrize("seed", range(6))
def test_balanced_likelihood_is_where_a_balanced_logistic_regression_crosses_one_half(seed):
    logits, labels = case(seed)
    reference = LogisticRegression(C=1e9, class_weight="balanced", tol=1e-10).fit(logits[:, None], labels)
    crossing = -reference.intercept_[0] / reference.coef_[0, 0]
    threshold = choose_threshold(expit(logits), labels, "balanced_likelihood")
    assert logit(threshold) == pytest.approx(crossing, abs=2e-3)


def test_balanced_likelihood_does_not_follow_the_prevalence():
    logits, labels = case(1, size=4000)
    kept = (labels == 1) | (np.arange(4000) % 5 == 0)
    whole = choose_threshold(expit(logits), labels, "balanced_likelihood")
    fewer_normals = choose_threshold(expit(logits[kept]), labels[kept], "balanced_likelihood")
    assert logit(fewer_normals) == pytest.approx(logit(whole), abs=0.3)


def test_separable_classes_have_a_threshold_between_them():
    probabilities, labels = np.array([0.01, 0.02, 0.9, 0.99]), np.array([0, 0, 1, 1])
    for rule in ("fixed", "balanced_accuracy", "balanced_likelihood"):
        assert 0.02 < choose_threshold(probabilities, labels, rule) <= 0.9


def test_fixed_is_one_half_whatever_the_data():
    assert choose_threshold(np.array([0.9, 0.8]), np.array([0, 1]), "fixed") == 0.5


def test_the_form_offers_every_rule():
    assert set(get_args(EvaluationParameters.model_fields["threshold_rule"].annotation)) == set(RULES)


def test_the_rule_in_use_comes_first_and_another_may_have_no_threshold():
    logits, labels = case(0)
    probabilities = expit(logits)
    thresholds = candidate_thresholds(probabilities, labels, "balanced_accuracy")
    assert next(iter(thresholds)) == "balanced_accuracy"
    assert thresholds == {rule: choose_threshold(probabilities, labels, rule) for rule in RULES}
    falling = np.array([0.9, 0.8, 0.2, 0.1]), np.array([0, 0, 1, 1])
    assert set(candidate_thresholds(*falling, "fixed")) == set(RULES) - {"balanced_likelihood"}
    with pytest.raises(InputError, match="do not rise"):
        candidate_thresholds(*falling, "balanced_likelihood")


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(InputError, match="Unknown threshold rule 'best'"):
        choose_threshold(np.array([0.1, 0.9]), np.array([0, 1]), "best")
    with pytest.raises(InputError, match="needs every class from 0 to 1"):
        fit_temperature(np.array([0.1, 0.9]), np.array([1, 1]))
    with pytest.raises(InputError, match="do not rise"):
        choose_threshold(np.array([0.9, 0.8, 0.2, 0.1]), np.array([0, 0, 1, 1]), "balanced_likelihood")
    with pytest.raises(InputError, match="two classes apart, not 3"):
        choose_threshold(np.full((3, 3), 1 / 3), np.arange(3), "fixed")
