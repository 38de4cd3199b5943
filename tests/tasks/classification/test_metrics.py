import time

import numpy as np
import pytest
from medmnist.evaluator import getACC, getAUC
from sklearn import metrics as reference

from models.errors import InputError
from tasks.classification import metrics
from tasks.classification.metrics import (
    METRICS,
    bootstrap_scores,
    confusion_counts,
    quadratic_kappa,
    score,
    score_with_intervals,
)
from tasks.shared.bootstrap import resample


def case(seed, size=80):
    """Every second case has many tied probabilities, and values at the bounds."""
    random = np.random.default_rng(seed)
    labels = (random.random(size) < 0.65).astype(np.int64)
    labels[:2] = 0, 1
    probabilities = np.clip(random.normal(0.35 + 0.3 * labels, 0.25), 0, 1)
    return probabilities.round(1 if seed % 2 else 12), labels


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_the_confusion_is_sklearns_also_of_a_class_that_is_not_there(classes):
    random = np.random.default_rng(classes)
    labels, predicted = random.integers(0, max(2, classes - 1), (2, 50))
    expected = reference.confusion_matrix(labels, predicted, labels=range(classes))
    np.testing.assert_array_equal(confusion_counts(predicted, labels, classes), expected)


def naive_calibration_error(probabilities, labels):
    total = 0.0
    for low in range(15):
        chosen = [index for index, p in enumerate(probabilities) if low <= p * 15 < low + 1 or (low == 14 and p == 1)]
        if chosen:
            gap = np.mean(probabilities[chosen]) - np.mean(labels[chosen])
            total += len(chosen) / len(labels) * abs(gap)
    return total


def by_reference(probabilities, labels, threshold):
    predicted = (probabilities >= threshold).astype(int)
    return {
        "auc": reference.roc_auc_score(labels, probabilities),
        "accuracy": reference.accuracy_score(labels, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
        "precision": reference.precision_score(labels, predicted, zero_division=0),
        "recall": reference.recall_score(labels, predicted),
        "specificity": reference.recall_score(labels, predicted, pos_label=0),
        "f1": reference.f1_score(labels, predicted, zero_division=0),
        "average_precision": reference.average_precision_score(labels, probabilities),
        "ece": naive_calibration_error(probabilities, labels),
        "brier": reference.brier_score_loss(labels, probabilities),
    }


def multi_class_case(seed, size=150, classes=5):
    """Every second case has many tied probabilities, and some likeliest classes that tie."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, size)
    labels[:classes] = range(classes)
    weights = random.gamma(1.0, size=(size, classes)) + 1.2 * np.eye(classes)[labels]
    if seed % 2:
        weights = np.ceil(weights)
    return weights / weights.sum(axis=1, keepdims=True), labels


def multi_class_reference(probabilities, labels):
    """Score by scikit-learn and MedMNIST's own evaluator, and by loops where neither has the metric."""
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    truth = np.eye(classes)[labels]
    options = {"average": "macro", "zero_division": 0}
    confidence = probabilities.max(axis=1)
    return {
        "auc": getAUC(labels, probabilities, "multi-class"),
        "accuracy": getACC(labels, probabilities, "multi-class"),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
        "precision": reference.precision_score(labels, predicted, **options),
        "recall": reference.recall_score(labels, predicted, **options),
        "specificity": np.mean([np.mean(predicted[labels != name] != name) for name in range(classes)]),
        "f1": reference.f1_score(labels, predicted, **options),
        "average_precision": reference.average_precision_score(truth, probabilities, average="macro"),
        "ece": naive_calibration_error(confidence, predicted == labels),
        "brier": np.mean([sum((p - t) ** 2) for p, t in zip(probabilities, truth, strict=True)]) / 2,
    }


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_every_metric_agrees_with_scikit_learn(seed, threshold):
    probabilities, labels = case(seed)
    ours, theirs = score(probabilities, labels, threshold), by_reference(probabilities, labels, threshold)
    assert tuple(ours) == METRICS
    for name in METRICS:
        assert ours[name] == pytest.approx(theirs[name], abs=1e-12), name


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("classes", [3, 5, 11])
def test_every_metric_of_more_classes_agrees_with_the_references(seed, classes):
    probabilities, labels = multi_class_case(seed, classes=classes)
    ours, theirs = score(probabilities, labels, None), multi_class_reference(probabilities, labels)
    assert tuple(ours) == METRICS
    for name in METRICS:
        assert ours[name] == pytest.approx(theirs[name], abs=1e-12), name


def test_a_class_that_is_never_called_has_no_precision():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.1, 0.3], [0.8, 0.1, 0.1]])
    values = score(probabilities, np.array([0, 1, 2, 0]), None)
    assert values["precision"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert values["recall"] == values["balanced_accuracy"] == pytest.approx((1 + 1 + 0) / 3)
    assert values["specificity"] == pytest.approx((1 / 2 + 1 + 1) / 3)


@pytest.mark.parametrize("seed", range(4))
def test_every_bootstrap_sample_is_scored_as_if_drawn_alone(seed):
    probabilities, labels = case(seed, size=40)
    ours = bootstrap_scores(probabilities, labels, 0.5, samples=25, seed=seed)
    for sample, chosen in enumerate(resample(40, 25, seed)):
        theirs = by_reference(probabilities[chosen], labels[chosen], 0.5)
        for name in METRICS:
            assert ours[name][sample] == pytest.approx(theirs[name], abs=1e-9), (name, sample)


@pytest.mark.parametrize("seed", range(2))
def test_every_bootstrap_sample_of_more_classes_is_scored_as_if_drawn_alone(seed, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_SIZE", 150 * 4)  # several blocks of samples
    probabilities, labels = multi_class_case(seed)
    ours = bootstrap_scores(probabilities, labels, None, samples=25, seed=seed)
    for sample, chosen in enumerate(resample(150, 25, seed)):
        theirs = multi_class_reference(probabilities[chosen], labels[chosen])
        for name in METRICS:
            assert ours[name][sample] == pytest.approx(theirs[name], abs=1e-9), (name, sample)


def test_quadratic_kappa_is_that_of_scikit_learn_alone_and_resampled():
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 5, 60)
    predicted = np.clip(labels + generator.integers(-1, 3, 60), 0, 4)
    drawn = generator.integers(0, 60, (7, 60))
    counts = np.stack([np.bincount(sample, minlength=60) for sample in drawn]).astype(float)
    expected = [reference.cohen_kappa_score(predicted[each], labels[each], weights="quadratic") for each in drawn]
    np.testing.assert_allclose(quadratic_kappa(predicted, labels, counts), expected, atol=1e-12)
    whole = quadratic_kappa(predicted, labels, np.ones((1, 60)))
    assert whole[0] == pytest.approx(reference.cohen_kappa_score(predicted, labels, weights="quadratic"), abs=1e-12)
    assert quadratic_kappa(labels, labels, np.ones((1, 60)))[0] == 1
    assert np.isnan(quadratic_kappa(np.ones(3), np.ones(3), np.ones((1, 3)))[0])


def test_samples_that_lack_one_of_more_classes_are_left_out():
    probabilities, labels = multi_class_case(0, size=6, classes=3)
    values = bootstrap_scores(probabilities, labels, None, samples=100, seed=0)
    lacking = np.array([len(set(labels[chosen])) < 3 for chosen in resample(6, 100, 0)])
    assert lacking.any() and not lacking.all()
    for name in ("auc", "average_precision", "recall", "balanced_accuracy"):
        np.testing.assert_array_equal(np.isnan(values[name]), lacking)
    assert not np.isnan(values["accuracy"]).any()


def test_samples_of_one_class_are_undefined_only_where_they_must_be():
    probabilities, labels = np.array([0.2, 0.6, 0.9]), np.array([0, 1, 1])
    values = bootstrap_scores(probabilities, labels, 0.5, samples=200, seed=0)
    one_class = np.array([len(set(labels[chosen])) == 1 for chosen in resample(3, 200, 0)])
    assert one_class.any()
    for name in ("auc", "average_precision", "balanced_accuracy"):
        np.testing.assert_array_equal(np.isnan(values[name]), one_class)
    assert not np.isnan(values["accuracy"]).any()
    assert not any(np.isnan(value) for value in score_with_intervals(probabilities, labels, 0.5).values())


def test_intervals_hold_the_score_repeat_and_narrow_with_the_number_of_images():
    small, large = (score_with_intervals(*case(0, size), 0.5, samples=300, seed=1) for size in (80, 800))
    assert small == score_with_intervals(*case(0, 80), 0.5, samples=300, seed=1)
    for name in METRICS:
        if name != "ece":  # resampling adds noise to the bins, which biases this one upwards
            assert small[f"{name}_ci_low"] <= small[name] <= small[f"{name}_ci_high"], name
        widths = [values[f"{name}_ci_high"] - values[f"{name}_ci_low"] for values in (small, large)]
        assert widths[1] < widths[0], name


def test_a_thousand_samples_of_the_test_split_are_quick():
    probabilities, labels = case(0, size=624)
    started = time.thread_time()  # of the processor: a busy machine does not count
    score_with_intervals(probabilities, labels, 0.5, samples=1000)
    assert time.thread_time() - started < 3


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([0.1, 0.9], [1, 1], "every class from 0 to 1"),
        ([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]], [0, 1], "every class from 0 to 2"),
        ([[0.1, 0.9], [0.8, 0.2]], [0, 1], r"of shape \(2, 2\) cannot be scored"),
        ([0.1, 1.2], [0, 1], r"\[0, 1\]"),
        ([0.1, np.nan], [0, 1], r"\[0, 1\]"),
        ([0.1, 0.5, 0.7], [0, 1], "shape"),
    ],
)
def test_what_cannot_be_scored_is_refused(probabilities, labels, message):
    with pytest.raises(InputError, match=message):
        score(np.array(probabilities), np.array(labels), 0.5)


def test_a_threshold_belongs_to_two_classes_only():
    with pytest.raises(InputError, match="more classes have none"):
        score(*multi_class_case(0), 0.5)
    with pytest.raises(InputError, match="need one"):
        score(*case(0), None)
