import numpy as np
import pytest
from scipy.special import expit

from tasks.classification.trust.conformal import p_values, prediction_sets
from tasks.classification.trust.conformal_under_shift import (
    StandIn,
    conformal_under_shift,
    shifted_conformal_markdown,
    shifted_conformal_metrics,
    weighted_p_values,
)
from tasks.classification.trust.shift import SplitOutputs

NAMES = ("normal", "pneumonia")


def draw(size, seed, center=0.0):
    """Images with one feature around a centre, whose class follows from it and a classifier that sees it noisily."""
    random = np.random.default_rng(seed)
    feature = random.normal(center, 1, size)
    labels = (random.random(size) < expit(2 * feature)).astype(np.int64)
    return feature, labels, expit(2 * feature + random.normal(0, 0.5 + (feature < 0), size))


def split(size, seed, center=0.0):
    feature, labels, probabilities = draw(size, seed, center)
    angle = np.arctan(feature)
    embeddings = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return SplitOutputs(np.zeros((size, 2, 2), np.uint8), labels, probabilities, probabilities >= 0.5, embeddings)


def test_weighted_p_values_agree_with_a_naive_loop():
    _, labels, calibration = draw(50, 0)
    _, _, own = draw(20, 1)
    calibration[:10] = own[:10]  # ties
    random = np.random.default_rng(2)
    weights, own_weights = random.random(50), random.random(20)
    found = weighted_p_values(calibration, labels, own, weights, own_weights)
    for image in range(20):
        for label in range(2):
            chance = [p if label else 1 - p for p in calibration]
            mine = own[image] if label else 1 - own[image]
            members = [i for i in range(50) if labels[i] == label]
            at_least = sum(weights[i] for i in members if chance[i] <= mine) + own_weights[image]
            expected = at_least / (sum(weights[i] for i in members) + own_weights[image])
            assert found[image, label] == pytest.approx(expected)


def test_equal_weights_are_no_weights():
    _, labels, calibration = draw(60, 0)
    _, _, own = draw(30, 1)
    found = weighted_p_values(calibration, labels, own, np.full(60, 3.0), np.full(30, 3.0))
    assert found == pytest.approx(p_values(calibration, labels, own))


def test_true_weights_restore_a_promise_that_a_shift_breaks():
    # The ratio of two normal densities whose centres lie one apart.
    feature, labels, calibration = draw(4000, 0)
    shifted, shifted_labels, own = draw(4000, 1, center=-1.0)
    weights, own_weights = (np.exp(-x - 0.5) for x in (feature, shifted))
    diseased = shifted_labels == 1
    plain = prediction_sets(p_values(calibration, labels, own), 0.9)[diseased, 1].mean()
    weighted = prediction_sets(weighted_p_values(calibration, labels, own, weights, own_weights), 0.9)[diseased, 1]
    assert plain < 0.80
    assert 0.87 < weighted.mean() < 0.94


def test_every_calibration_is_measured_and_named():
    validation, test, copies = split(300, 0), split(300, 1, center=-1.0), split(900, 2, center=-0.7)
    stand_in = StandIn(copies.probabilities, copies.labels)
    plain, corrupted, _ = found = conformal_under_shift(validation, test, stand_in, NAMES)
    assert [each.name for each in found] == ["validation", "corrupted", "weighted"]
    sets = prediction_sets(p_values(*stand_in, test.probabilities), 0.9)
    assert corrupted.mean_size[0.9] == sets.sum(axis=1).mean()
    for label, row in enumerate(row for row in corrupted.coverage if row.level == 0.9):
        assert row.coverage.value == sets[test.labels == label, label].mean()
    # Both count on the shift, and cover more of the class that it makes strange.
    covered = [each.coverage[1].coverage.value for each in found]
    assert min(covered[1:]) > covered[0]
    metrics = shifted_conformal_metrics(found)
    assert metrics["conformal/corrupted_coverage_90_normal"] == corrupted.coverage[0].coverage.value
    assert metrics["conformal/mean_size_95"] == plain.mean_size[0.95]
    assert len(metrics) == 2 + 2 * (2 + 4)
    text = shifted_conformal_markdown(found)
    assert text.count("\n| 9") == 12
    assert "a transductive figure" in text


def test_without_a_stand_in_or_images_enough_there_is_less_to_show():
    validation, test = split(40, 0), split(40, 1)
    assert [each.name for each in conformal_under_shift(validation, test, None, NAMES)] == ["validation", "weighted"]
    tiny = split(4, 1)
    (plain,) = conformal_under_shift(validation, tiny, None, NAMES)
    assert "transductive" not in shifted_conformal_markdown([plain])
