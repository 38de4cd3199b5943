import numpy as np
import pytest

from tasks.classification.log_odds import log_odds, log_odds_of_truth


def test_log_odds_are_finite():
    assert log_odds(np.array([0.5, 0.75])) == pytest.approx([0, np.log(3)])
    assert log_odds(np.array([0.0, 1.0])) == pytest.approx([-13.8155, 13.8155], abs=1e-3)


def test_the_truth_of_two_or_more_classes():
    assert log_odds_of_truth(np.array([0.75, 0.75]), np.array([1, 0])) == pytest.approx([np.log(3), -np.log(3)])
    three = np.array([[0.5, 0.25, 0.25], [0.1, 0.15, 0.75]])
    assert log_odds_of_truth(three, np.array([1, 2])) == pytest.approx([-np.log(3), np.log(3)])
