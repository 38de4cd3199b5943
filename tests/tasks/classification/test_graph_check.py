"""When a graph is kept."""

import numpy as np
import pytest

from tasks.classification.graph_check import compare_probabilities

REPORTED = np.array([0.2, 0.5, 0.9])


def of_both(ones):
    return np.column_stack([1 - ones, ones]).astype(np.float32)


def test_the_same_decisions_keep_it():
    metrics, problem = compare_probabilities(of_both(REPORTED + np.array([1e-6, 1e-6, -1e-6])), REPORTED, 0.5)
    assert problem == ""
    assert metrics["onnx/changed_decisions"] == 0
    assert metrics["onnx/images"] == 3
    assert metrics["onnx/greatest_difference"] == pytest.approx(1e-6, rel=0.1)


@pytest.mark.parametrize(("ones", "changed"), [([0.2, 0.4999, 0.9], 1), ([0.3, 0.5, 0.9], 0), ([0.2, np.nan, 0.9], 1)])
def test_another_decision_a_far_probability_or_none_leaves_it_out(ones, changed):
    metrics, problem = compare_probabilities(of_both(np.array(ones)), REPORTED, 0.5)
    assert problem.startswith(f"It is left out, since it decides {changed} of 3 test images otherwise and")
    assert metrics["onnx/changed_decisions"] == changed


def test_of_more_classes_the_likeliest_is_compared():
    reported = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    assert compare_probabilities(reported, reported, None)[1] == ""
    assert compare_probabilities(reported[:, ::-1], reported, None)[0]["onnx/changed_decisions"] == 2
