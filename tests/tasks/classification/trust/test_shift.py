import time

import numpy as np
import pytest

from tasks.classification.trust.shift import SplitOutputs, energy_coefficient, measure_shift, shift_markdown

NAMES = ("normal", "pneumonia")


def split(size, seed, *, moved=0.0, dimension=16):
    """Two classes; the embeddings and scores of class 0 are moved towards class 1."""
    random = np.random.default_rng(seed)
    labels = (random.random(size) < 0.6).astype(np.int64)
    position = np.where(labels == 1, 2.0, -2.0 + moved)
    embeddings = random.normal(0, 1, (size, dimension))
    embeddings[:, 0] += position
    probabilities = 1 / (1 + np.exp(-embeddings[:, 0]))
    images = np.clip(random.normal(120, 30, (size, 8, 8)), 0, 255).astype(np.uint8)
    return SplitOutputs(images, labels, probabilities, (probabilities >= 0.5).astype(np.int64), embeddings)


def test_the_energy_coefficient_agrees_with_a_naive_loop():
    random = np.random.default_rng(0)
    first, second = random.normal(0, 1, (7, 3)), random.normal(0.5, 1, (5, 3))

    def mean_distance(a, b):
        return np.mean([np.linalg.norm(x - y) for x in a for y in b])

    between = 2 * mean_distance(first, second)
    expected = (between - mean_distance(first, first) - mean_distance(second, second)) / between
    found, _, p = energy_coefficient(first, second, permutations=20, seed=0)
    assert found == pytest.approx(expected)
    assert p * 21 == pytest.approx(round(p * 21))


def test_energy_p_values_are_uniform_without_a_shift_and_small_with_one():
    random = np.random.default_rng(1)
    p = [
        energy_coefficient(random.normal(0, 1, (20, 4)), random.normal(0, 1, (25, 4)), permutations=99, seed=seed)[2]
        for seed in range(200)
    ]
    assert 0.4 < np.mean(p) < 0.6
    assert np.mean(np.array(p) <= 0.1) < 0.18
    value, chance, small = energy_coefficient(
        random.normal(0, 1, (30, 4)), random.normal(1.5, 1, (30, 4)), permutations=99, seed=0
    )
    assert small == pytest.approx(0.01) and value > 5 * chance


def test_identical_points_have_no_distance():
    same = np.ones((4, 3))
    assert energy_coefficient(same, same, permutations=5, seed=0) == (0, 0, 1)


def test_a_shift_of_one_class_is_found_in_that_class():
    normal, pneumonia = measure_shift(split(300, 0), split(300, 1, moved=1.5), NAMES)
    assert normal.rate_change.high < 0 and normal.test_rate.value < normal.validation_rate.value
    assert normal.score_order.high < 0.5 and normal.score_distance > 0.3 and normal.score_p < 0.001
    assert normal.embedding_p < 0.01 and normal.domain_auc.low > 0.5
    assert pneumonia.rate_change.low < 0 < pneumonia.rate_change.high
    assert pneumonia.score_distance < 0.2 and pneumonia.embedding_p > 0.05
    text = shift_markdown([normal, pneumonia])
    assert "**normal**: the share that is classified correctly falls from" in text
    assert "**pneumonia**: the share that is classified correctly does not change beyond chance" in text
    assert "lie no farther from those of validation" in text


def test_scores_agree_with_a_naive_kolmogorov_smirnov_distance():
    before, after = split(60, 3), split(50, 4, moved=1.0)
    first, second = (-np.log(s.probabilities / (1 - s.probabilities))[s.labels == 0] for s in (before, after))
    grid = np.concatenate([first, second])
    expected = max(abs(np.mean(first <= x) - np.mean(second <= x)) for x in grid)
    assert measure_shift(before, after, NAMES, permutations=9)[0].score_distance == pytest.approx(expected)


def test_the_change_of_a_rate_has_newcombes_interval():
    # The example of Newcombe (1998), method 10: 56 of 70 less 48 of 80.
    labels = np.zeros(70, np.int64), np.zeros(80, np.int64)
    outputs = []
    for own, right in zip(labels, (56, 48), strict=True):
        predicted = (np.arange(len(own)) >= right).astype(np.int64)
        images = np.zeros((len(own), 4, 4), np.uint8)
        outputs.append(SplitOutputs(images, own, np.full(len(own), 0.4), predicted, np.ones((len(own), 2))))
    change = measure_shift(outputs[1], outputs[0], ("normal",), permutations=3)[0].rate_change
    assert change.value == pytest.approx(0.2)
    assert (change.low, change.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_pixels_are_measured_by_hand():
    def of(values):
        images = np.array(values, np.uint8).reshape(-1, 1, 2)
        count = len(images)
        zeros = np.zeros(count, np.int64)
        return SplitOutputs(images, zeros, np.full(count, 0.2), zeros, np.eye(count, 3))

    before, after = of([[0, 20], [20, 40], [40, 60]]), of([[30, 50], [50, 70], [90, 90]])
    shift = measure_shift(before, after, ("normal",), permutations=3)[0]
    # Means 10, 30, 50 and 40, 60, 90: variances 400 and 1900 / 3.
    assert shift.brightness.validation == 30
    assert shift.brightness.test == pytest.approx(190 / 3)
    assert shift.brightness.effect == pytest.approx((190 / 3 - 30) / np.sqrt((400 + 1900 / 3) / 2))
    assert (shift.contrast.validation, shift.contrast.test) == pytest.approx((10, 20 / 3))


def test_a_class_without_images_leaves_figures_unknown():
    before, after = split(40, 5), split(40, 6)
    shift = measure_shift(before, after, (*NAMES, "absent"), permutations=9)[2]
    assert np.isnan(
        [shift.validation_rate.value, shift.score_distance, shift.embedding_p, shift.brightness.effect]
    ).all()
    assert "**absent**: too few images to compare." in shift_markdown([shift])


def test_colour_and_several_classes():
    random = np.random.default_rng(7)
    labels = np.repeat([0, 1, 2], 12)
    probabilities = random.dirichlet(np.ones(3), 36)
    images = random.integers(0, 256, (36, 4, 4, 3), dtype=np.uint8)
    outputs = SplitOutputs(images, labels, probabilities, probabilities.argmax(axis=1), random.normal(0, 1, (36, 5)))
    for shift in measure_shift(outputs, outputs, ("a", "b", "c"), permutations=19):
        assert shift.score_distance == 0 and shift.score_order.value == pytest.approx(0.5)
        assert shift.rate_change.value == 0 and shift.brightness.effect == 0


def test_splits_of_the_usual_size_take_seconds():
    before, after = split(524, 8, dimension=512), split(624, 9, dimension=512)
    started = time.thread_time()  # other threads do not count
    measure_shift(before, after, NAMES)
    assert time.thread_time() - started < 10
