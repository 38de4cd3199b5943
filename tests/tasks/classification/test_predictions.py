import numpy as np

from tasks.classification.predictions import Predictions

TWO, THREE = ("normal", "pneumonia"), ("a", "b", "c")


def test_errors_are_sorted_by_how_sure_they_were():
    probabilities = np.array([0.9, 0.8, 0.3, 0.05, 0.2, 0.8])
    labels = np.array([1, 0, 1, 1, 0, 0])
    assert Predictions(probabilities, labels, 0.5, TWO).errors.tolist() == [3, 1, 5, 2]
    assert Predictions(probabilities, labels, 0.85, TWO).errors.tolist() == [3, 2]


def test_outcomes_are_named():
    probabilities, labels = np.array([0.9, 0.1, 0.9, 0.1]), np.array([1, 0, 0, 1])
    found = Predictions(probabilities, labels, 0.5, TWO)
    named = [found.outcome_names[kind] for kind in found.outcomes]
    assert named == ["true positive", "true negative", "false positive", "false negative"]


def test_more_classes_are_right_or_wrong_and_errors_are_sorted_too():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7], [0.9, 0.1, 0.0]])
    labels = np.array([0, 2, 2, 1])
    found = Predictions(probabilities, labels, None, THREE)
    assert found.outcome_names == ("correct", "incorrect")
    assert found.outcomes.tolist() == [0, 1, 0, 1]
    assert found.errors.tolist() == [3, 1]
    # Beside the predicted class, the next likeliest of a correct prediction, the true class of a wrong one.
    assert found.explained_classes.tolist() == [[0, 1], [1, 2], [2, 0], [0, 1]]


def test_of_two_classes_both_are_explained():
    assert Predictions(np.array([0.2, 0.9]), np.array([0, 0]), 0.5, TWO).explained_classes.tolist() == [[0, 1], [0, 1]]


def test_the_first_cases_of_each_outcome_are_explained():
    random = np.random.default_rng(0)
    probabilities, labels = random.random(120), random.integers(0, 2, 120)
    found = Predictions(probabilities, labels, 0.5, TWO)
    shown, groups = found.explained_cases(2), found.outcomes
    of_each = [[index for index in range(120) if groups[index] == kind] for kind in range(4)]
    assert shown.tolist() == [index for indices in of_each for index in indices[:2]]
