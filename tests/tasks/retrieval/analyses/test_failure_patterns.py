import numpy as np
import pytest
from scipy.stats import false_discovery_control, mannwhitneyu

from tasks.retrieval.analyses.failure_patterns import (
    Pattern,
    compare_failed,
    count_patterns,
    image_properties,
    neighbour_popularity,
    patterns_markdown,
)

NAMES = ("normal", "pneumonia")
SETTINGS = {"samples": 200, "seed": 0}


def test_properties_of_the_pixels_by_hand():
    dot = np.zeros((5, 5), dtype=np.uint8)
    dot[2, 2] = 100
    flat = np.full((5, 5), 60, dtype=np.uint8)
    found = image_properties(np.stack([flat, dot]))
    assert found["brightness"] == pytest.approx([60, 4])
    assert found["contrast"] == pytest.approx([0, np.sqrt(100**2 / 25 - 4**2)])
    # The Laplacian of the dot: −400 in its place and 100 at its four neighbours, whose mean is 0.
    assert found["sharpness"] == pytest.approx([0, (400**2 + 4 * 100**2) / 25])


def test_a_blurred_image_is_less_sharp_whatever_stands_beside_it():
    noise = np.random.default_rng(0).integers(0, 255, (2, 12, 12)).astype(np.uint8)
    blurred = ((noise[0, :-1].astype(int) + noise[0, 1:]) // 2).astype(np.uint8)
    noise[1, :-1] = blurred
    together = image_properties(noise)["sharpness"]
    assert together[1] < together[0]
    assert together == pytest.approx([image_properties(image[None])["sharpness"][0] for image in noise])


def test_popularity_counts_how_often_a_query_s_neighbours_are_neighbours():
    ids = np.array([[7, 3], [7, 9], [7, 3]])  # 7 three times, 3 twice, 9 once
    assert neighbour_popularity(ids).tolist() == [2.5, 2.0, 2.5]


def test_patterns_are_counted_by_class():
    failed = np.array([True, True, False, False, True, False])
    misclassified = np.array([True, False, True, False, True, False])
    labels = np.array([0, 0, 0, 0, 1, 1])
    assert count_patterns(failed, misclassified, labels, NAMES) == (
        Pattern("normal", both_right=1, only_retrieval_wrong=1, only_classifier_wrong=1, both_wrong=1),
        Pattern("pneumonia", both_right=1, only_retrieval_wrong=0, only_classifier_wrong=0, both_wrong=1),
    )


@pytest.fixture
def queries():
    generator = np.random.default_rng(3)
    labels = np.repeat([0, 1], [60, 90])
    failed = generator.random(150) < 0.3
    shifted = generator.normal(size=150) + 1.5 * failed * (labels == 0)
    return {"shifted": shifted, "alike": generator.normal(size=150)}, failed, labels


def test_effects_are_those_of_mann_whitney_within_each_class(queries):
    properties, failed, labels = queries
    effects = compare_failed(properties, failed, labels, NAMES, **SETTINGS)
    assert [(effect.property, effect.name) for effect in effects] == [
        ("shifted", "normal"), ("shifted", "pneumonia"), ("alike", "normal"), ("alike", "pneumonia"),
    ]  # fmt: skip
    for effect, label in zip(effects, [0, 1, 0, 1], strict=True):
        values = properties[effect.property]
        first, second = values[failed & (labels == label)], values[~failed & (labels == label)]
        expected = mannwhitneyu(first, second)
        assert effect.p == pytest.approx(expected.pvalue)
        assert effect.effect.value == pytest.approx(2 * expected.statistic / (len(first) * len(second)) - 1)
        assert (effect.failed, effect.others) == (np.median(first), np.median(second))
        assert effect.effect.low < effect.effect.value < effect.effect.high
    assert effects[0].effect.low > 0.3
    assert abs(effects[1].effect.value) < 0.35


def test_p_values_are_adjusted_by_holm_step_by_step(queries):
    effects = compare_failed(*queries, NAMES, **SETTINGS)
    largest = 0.0
    for rank, effect in enumerate(sorted(effects, key=lambda effect: effect.p)):
        largest = max(largest, min(1.0, (4 - rank) * effect.p))
        assert effect.p_adjusted == pytest.approx(largest)
    # Holm guards against any false finding, so it is never milder than the control of their share.
    milder = false_discovery_control([effect.p for effect in effects])
    assert all(effect.p_adjusted >= p - 1e-12 for effect, p in zip(effects, milder, strict=True))


def test_a_class_without_failures_is_left_open_and_out_of_the_adjustment(queries):
    properties, failed, labels = queries
    effects = compare_failed({"shifted": properties["shifted"]}, failed & (labels == 0), labels, NAMES, **SETTINGS)
    assert effects[0].p_adjusted == effects[0].p
    assert np.isnan([effects[1].p, effects[1].p_adjusted, effects[1].effect.value, effects[1].failed]).all()
    text = patterns_markdown(count_patterns(failed & (labels == 0), failed, labels, NAMES), effects, k=5)
    assert "| shifted | pneumonia | – |" in text
    assert "nan" not in text


def test_a_constant_property_has_no_effect():
    failed, labels = np.array([True, False, True, False]), np.array([0, 0, 1, 1])
    effects = compare_failed({"constant": np.ones(4)}, failed, labels, NAMES, **SETTINGS)
    assert [(effect.effect.value, effect.p_adjusted) for effect in effects] == [(0, 1), (0, 1)]


def test_the_tables_hold_the_counts_and_the_shares(queries):
    properties, failed, labels = queries
    patterns = (Pattern("normal", 80, 2, 5, 6), Pattern("pneumonia", 90, 0, 1, 0))
    text = patterns_markdown(patterns, compare_failed(properties, failed, labels, NAMES, **SETTINGS), k=7)
    assert "half of its 7 nearest" in text
    assert "| normal | 80 | 2 | 5 | 6 | 0.750 (" in text  # the classifier errs for 6 of 8 failures ...
    assert "| 0.059 (" in text  # ... and for 5 of the 85 others
    assert "| pneumonia | 90 | 0 | 1 | 0 | – | 0.011 (" in text
