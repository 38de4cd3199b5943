from collections import Counter

import numpy as np
import pytest

from tasks.reports.cases import GROUPS, choose_cases, group_of


def population(size: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = (generator.random(size) < 0.6).astype(np.int64)
    return np.clip(0.25 + 0.5 * labels + generator.normal(0, 0.3, size), 0, 1), labels


@pytest.mark.parametrize(
    ("probability", "label", "threshold", "group"),
    [
        (0.9, 1, 0.5, "pneumonia, called correctly"),
        (0.9, 0, 0.5, "false alarm"),
        (0.1, 0, 0.5, "normal, called correctly"),
        (0.1, 1, 0.5, "missed pneumonia"),
        (0.55, 1, 0.5, "borderline"),
        (0.45, 1, 0.5, "borderline"),
        (0.55, 0, 0.3, "false alarm"),
    ],
)
def test_group_of(probability: float, label: int, threshold: float, group: str):
    assert group_of(probability, label, threshold) == group


def test_groups_share_equally_and_are_sorted():
    probabilities, labels = population()
    chosen = choose_cases(probabilities, labels, 0.5, 12)
    assert len(set(chosen)) == 12
    groups = [group_of(probabilities[i], labels[i], 0.5) for i in chosen]
    assert groups == sorted(groups, key=GROUPS.index)
    assert sorted(Counter(groups).values()) == [2, 2, 2, 3, 3]
    assert {labels[i] for i in chosen} == {0, 1}


def test_order_within_groups():
    probabilities = np.array([0.02, 0.30, 0.97, 0.70, 0.59, 0.48, 0.53, 0.8, 0.9, 0.95])
    labels = np.array([1, 1, 0, 0, 1, 0, 1, 1, 1, 1])
    assert choose_cases(probabilities, labels, 0.5, 10) == [8, 9, 7, 0, 1, 2, 3, 5, 6, 4]


def test_larger_count_only_adds_cases():
    probabilities, labels = population()
    previous: set[int] = set()
    for count in range(1, 60):
        chosen = set(choose_cases(probabilities, labels, 0.5, count))
        assert len(chosen) == count
        assert previous < chosen
        previous = chosen


def test_a_perfect_classifier_has_only_right_cases():
    labels = np.arange(20) % 2
    chosen = choose_cases(labels.astype(float), labels, 0.5, 8)
    assert [labels[i] for i in chosen] == [1, 1, 1, 1, 0, 0, 0, 0]


def test_fewer_cases_than_asked_are_all_taken():
    probabilities, labels = population(7)
    assert sorted(choose_cases(probabilities, labels, 0.5, 50)) == list(range(7))
    assert choose_cases(probabilities[:0], labels[:0], 0.5, 5) == []


def test_ties_go_by_index():
    assert choose_cases(np.full(5, 0.9), np.ones(5, int), 0.5, 3) == [0, 1, 2]
    assert choose_cases(np.full(5, 0.5), np.ones(5, int), 0.5, 3) == [0, 1, 2]


def test_all_of_one_class():
    assert choose_cases(np.array([0.9, 0.1, 0.8]), np.ones(3, int), 0.5, 3) == [0, 2, 1]
