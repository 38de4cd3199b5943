import numpy as np
import pytest

from tasks.classification.trust.conformal import (
    conformal_markdown,
    cross_fitted_p_values,
    evaluate_conformal,
    expected_coverage,
    p_values,
    prediction_sets,
)

NAMES = ("normal", "pneumonia")


def draw(size, seed, classes=2, spread=1.5):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, size)
    logits = random.normal(0, spread, (size, classes))
    logits[np.arange(size), labels] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (probabilities[:, 1] if classes == 2 else probabilities), labels


def naive(calibration, labels, probabilities):
    """The definition, word by word: of the class's calibration images and the image itself, how many are as strange?"""
    if calibration.ndim == 1:
        calibration, probabilities = (np.stack([1 - p, p], axis=1) for p in (calibration, probabilities))
    values = []
    for image in probabilities:
        row = []
        for label in range(calibration.shape[1]):
            members = [c[label] for c, own in zip(calibration, labels, strict=True) if own == label]
            row.append((sum(1 - member >= 1 - image[label] for member in members) + 1) / (len(members) + 1))
        values.append(row)
    return np.array(values)


@pytest.mark.parametrize("classes", [2, 4])
def test_p_values_and_sets_agree_with_a_naive_loop(classes):
    calibration, labels = draw(60, 0, classes)
    probabilities, _ = draw(30, 1, classes)
    expected = naive(calibration, labels, probabilities)
    found = p_values(calibration, labels, probabilities)
    assert found == pytest.approx(expected)
    assert (prediction_sets(found, 0.9) == (expected > 0.1 + 1e-9)).all()
    assert prediction_sets(found, 0.9).any() and not prediction_sets(found, 0.9).all()


def test_a_p_value_of_just_one_less_the_level_is_left_out():
    assert prediction_sets(np.array([[1 / 20, 1 / 10, 0.051]]), 0.95).tolist() == [[False, True, True]]
    assert prediction_sets(np.array([[1 / 10]]), 0.9).tolist() == [[False]]


def test_cross_fitting_never_uses_the_image_itself_and_agrees_with_a_naive_loop():
    probabilities, labels = draw(40, 3)
    # As many parts as images: each against all others.
    found = cross_fitted_p_values(probabilities, labels, folds=40)
    for index in range(40):
        others = np.arange(40) != index
        expected = naive(probabilities[others], labels[others], probabilities[[index]])[0]
        assert found[index] == pytest.approx(expected)


def test_without_a_shift_the_promise_is_kept_in_every_class_as_expected():
    # Fresh draws of both splits: coverage varies as the beta-binomial says, around a mean of at least the level.
    covered, inside = [], []
    for seed in range(150):
        calibration, labels = draw(100, 2 * seed)
        test, test_labels = draw(100, 2 * seed + 1)
        report = evaluate_conformal(calibration, labels, test, test_labels, NAMES, levels=(0.9,))
        for row in report.test:
            covered.append(row.coverage.value)
            inside.append(row.expected[0] <= row.coverage.value <= row.expected[1])
    assert np.mean(covered) == pytest.approx(0.91, abs=0.015)
    assert np.mean(inside) > 0.92


def test_expected_coverage_is_the_spread_of_simulated_promises():
    # 0.9 of 135: the 13 strangest of 136 ranks are left out.
    random = np.random.default_rng(0)
    uniform = np.sort(random.random((20_000, 135)), axis=1)
    covered = random.binomial(234, 1 - uniform[:, 12]) / 234
    assert expected_coverage(135, 234, 0.9) == pytest.approx(np.quantile(covered, [0.025, 0.975]), abs=0.006)
    # With 18 images no rank is strange enough at 95 %: the class is in every set.
    assert expected_coverage(18, 100, 0.95) == (1.0, 1.0)
    assert expected_coverage(19, 100, 0.95) != (1.0, 1.0)


def test_expected_coverage_of_few_images_agrees_with_an_urn():
    """Each image falls on one of the 10 places between 9 calibration images, and makes one more of its kind."""
    shares = {0: 1.0}  # of covered images, by their number
    for image in range(20):
        drawn = dict.fromkeys(range(image + 2), 0.0)
        for covered, share in shares.items():
            chance = (8 + covered) / (10 + image)  # 2 of 10 ranks are left out
            drawn[covered + 1] += share * chance
            drawn[covered] += share * (1 - chance)
        shares = drawn
    below = np.cumsum([shares[covered] for covered in range(21)])
    low, high = (int(np.searchsorted(below, edge)) for edge in (0.025, 0.975))
    assert expected_coverage(9, 20, 0.8) == (low / 20, high / 20)


def test_a_shift_of_one_class_breaks_its_promise_only_and_the_text_says_so():
    validation, labels = draw(400, 0)
    test, test_labels = draw(400, 1)
    shifted = np.where(test_labels == 0, np.clip(test + 0.4, 0, 1), test)
    report = evaluate_conformal(validation, labels, shifted, test_labels, NAMES)
    assert {(row.name, row.broken) for row in report.test} == {("normal", True), ("pneumonia", False)}
    assert not any(row.broken for row in report.validation)
    text = conformal_markdown(report)
    assert "The shift breaks the promise for normal at 90%" in text
    assert "breaks the promise for pneumonia" not in text
    assert "Kept: pneumonia at 90%, pneumonia at 95%." in text
    unshifted = conformal_markdown(evaluate_conformal(validation, labels, test, test_labels, NAMES))
    assert "every class keeps its promise" in unshifted


def test_the_table_counts_sets_by_hand():
    # One calibration image a class less than 9 would make no set small at 90 %: take 19 evenly spread ones.
    spread = np.linspace(0.525, 0.975, 19)
    calibration = np.concatenate([1 - spread, spread])
    labels = np.repeat([0, 1], 19)
    # In a set: class 1 from a probability above the second lowest, .55, and class 0 below .45; between them none.
    test, test_labels = np.array([0.99, 0.6, 0.5, 0.1, 0.2, 0.9]), np.array([1, 1, 1, 1, 0, 0])
    normal, pneumonia = evaluate_conformal(calibration, labels, test, test_labels, NAMES, levels=(0.9,)).test
    assert pneumonia.coverage.value == 2 / 4
    assert (pneumonia.empty, pneumonia.single, pneumonia.several) == (1 / 4, 3 / 4, 0)
    assert pneumonia.mean_size == 3 / 4
    assert pneumonia.single_accuracy.value == pytest.approx(2 / 3)
    assert normal.coverage.value == normal.single_accuracy.value == 1 / 2


def test_a_class_with_few_or_no_images_is_in_every_set():
    calibration, labels = draw(60, 0, 3)
    few = calibration[labels != 2], labels[labels != 2]
    test, test_labels = draw(30, 1, 3)
    report = evaluate_conformal(*few, test, test_labels, ("a", "b", "c"))
    assert [row.coverage.value for row in report.test if row.name == "c"] == [1.0, 1.0]
    assert "c at 90% (0 validation images)" in conformal_markdown(report)
    tiny = evaluate_conformal(calibration[:6], labels[:6], test[:6], test_labels[:6], ("a", "b", "c"))
    assert all(row.coverage.value == 1 for row in tiny.test if row.coverage.n)
