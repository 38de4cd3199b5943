import numpy as np

from tasks.classification import outcomes


def test_errors_are_sorted_by_how_sure_they_were():
    probabilities = np.array([0.9, 0.8, 0.3, 0.05, 0.2, 0.8])
    labels = np.array([1, 0, 1, 1, 0, 0])
    assert outcomes.most_confident_errors(probabilities, labels, 0.5).tolist() == [3, 1, 5, 2]
    assert outcomes.most_confident_errors(probabilities, labels, 0.85).tolist() == [3, 2]


def test_outcomes_are_named():
    probabilities, labels = np.array([0.9, 0.1, 0.9, 0.1]), np.array([1, 0, 0, 1])
    named = [outcomes.OUTCOMES[kind] for kind in outcomes.outcomes(probabilities, labels, 0.5)]
    assert named == ["true positive", "true negative", "false positive", "false negative"]


def test_more_classes_are_right_or_wrong_and_errors_are_sorted_too():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7], [0.9, 0.1, 0.0]])
    labels = np.array([0, 2, 2, 1])
    assert outcomes.outcome_names(3) == ("right", "wrong")
    assert outcomes.outcomes(probabilities, labels, None).tolist() == [0, 1, 0, 1]
    assert outcomes.most_confident_errors(probabilities, labels, None).tolist() == [3, 1]
    # Beside the called class, the next likeliest of a right call, the true class of a wrong one.
    assert outcomes.explained_classes(probabilities, labels, None).tolist() == [[0, 1], [1, 2], [2, 0], [0, 1]]


def test_of_two_classes_both_are_explained():
    assert outcomes.explained_classes(np.array([0.2, 0.9]), np.array([0, 0]), 0.5).tolist() == [[0, 1], [0, 1]]


def test_the_first_cases_of_each_outcome_are_explained():
    random = np.random.default_rng(0)
    probabilities, labels = random.random(120), random.integers(0, 2, 120)
    shown = outcomes.explained_cases(probabilities, labels, 0.5, cases=2)
    groups = outcomes.outcomes(probabilities, labels, 0.5)
    of_each = [[index for index in range(120) if groups[index] == kind] for kind in range(4)]
    assert shown.tolist() == [index for indices in of_each for index in indices[:2]]
