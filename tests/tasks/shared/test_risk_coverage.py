import itertools

import numpy as np
import pytest

from tasks.shared.risk_coverage import area_under_risk, risk_coverage


def test_risk_agrees_with_a_naive_loop():
    random = np.random.default_rng(0)
    confidence, correct = random.permutation(50) / 50, random.random(50) < 0.8
    surest_first = sorted(range(50), key=lambda index: -confidence[index])
    expected = [sum(not correct[index] for index in surest_first[: n + 1]) / (n + 1) for n in range(50)]
    assert risk_coverage(confidence, correct) == pytest.approx(expected)


def test_ties_count_as_if_in_random_order():
    confidence, correct = np.array([0.9, 0.9, 0.9, 0.6]), np.array([True, False, True, True])
    assert risk_coverage(confidence, correct) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 4])


def test_the_area_of_ties_is_the_mean_over_all_their_orders():
    confidence, correct = [0.9, 0.7, 0.7, 0.7, 0.2], [True, False, True, False, True]
    areas = []
    for middle in itertools.permutations([1, 2, 3]):
        errors = [not correct[index] for index in (0, *middle, 4)]
        areas.append(sum(sum(errors[:n]) / n for n in range(1, 6)) / 5)
    assert area_under_risk(np.array(confidence), np.array(correct)) == pytest.approx(sum(areas) / len(areas))
