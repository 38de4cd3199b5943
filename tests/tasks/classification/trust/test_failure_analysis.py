import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tasks.classification.trust.failure_analysis import (
    KINDS,
    Neighbourhood,
    analyse_failures,
    confidences,
    failure_markdown,
    neighbourhood,
    surest_errors,
)
from tasks.shared.risk_coverage import risk_coverage

NAMES = ("normal", "pneumonia")


def test_confidence_is_counted_from_the_threshold():
    probabilities = np.array([0.9, 0.1, 0.5])
    assert confidences(probabilities, 0.5) == pytest.approx([0.9, 0.9, 0.5])
    # Odds of 9 and 1/9 against a threshold with odds of 3: 3 above and 27 below.
    assert confidences(probabilities, 0.75) == pytest.approx([3 / 4, 27 / 28, 3 / 4])
    assert confidences(np.array([[0.2, 0.7, 0.1]]), None) == pytest.approx([0.7])


def test_neighbours_agree_with_a_naive_loop():
    random = np.random.default_rng(1)
    train, images = random.normal(0, 1, (40, 6)), random.normal(0, 1, (9, 6))
    train_labels, labels, predicted = (random.integers(0, 3, size) for size in (40, 9, 9))
    found = neighbourhood(images, predicted, labels, train, train_labels, neighbours=4)
    for index, image in enumerate(images):
        distances = [1 - image @ other / np.linalg.norm(image) / np.linalg.norm(other) for other in train]
        nearest = sorted(range(40), key=distances.__getitem__)[:4]
        assert found.nearest[index] == pytest.approx(min(distances))
        assert found.share_of_predicted[index] == np.mean([train_labels[n] == predicted[index] for n in nearest])
        assert found.share_of_true[index] == np.mean([train_labels[n] == labels[index] for n in nearest])


def test_fewer_training_images_than_neighbours():
    found = neighbourhood(np.eye(2), np.array([0, 1]), np.array([0, 1]), np.eye(2), np.array([0, 1]))
    assert found.share_of_predicted.tolist() == [0.5, 0.5]


def case():
    """Sixteen correct predictions and four errors, one of each kind."""
    labels = np.array([0] * 10 + [1] * 10)
    probabilities = np.where(labels == 1, 0.95, 0.05) + np.linspace(-0.02, 0.02, 20)
    predicted = np.full(20, 1.0)
    nearest = np.linspace(0.01, 0.02, 20)
    wrong = {0: (0.97, 1.0, 0.5), 1: (0.6, 1.0, 0.015), 2: (0.92, 0.5, 0.015), 3: (0.8, 0.4, 0.015)}
    for index, (probability, share, distance) in wrong.items():
        probabilities[index], predicted[index], nearest[index] = probability, share, distance
    return probabilities, labels, Neighbourhood(predicted, 1 - predicted, nearest)


def test_errors_are_named_and_sorted_by_how_sure_they_were():
    probabilities, labels, around = case()
    analysis = analyse_failures(probabilities, 0.5, labels, around, NAMES)
    assert [failure.index for failure in analysis.failures] == [0, 2, 3, 1]
    kinds = {failure.index: failure.kind for failure in analysis.failures}
    assert list(KINDS) == [kinds[index] for index in range(4)]
    first = analysis.failures[0]
    assert (first.true, first.predicted, first.confidence, first.nearest) == (0, 1, pytest.approx(0.97), 0.5)


def test_deferral_areas_and_finders():
    probabilities, labels, around = case()
    analysis = analyse_failures(probabilities, 0.5, labels, around, NAMES)
    # The least sure of 20 are the errors of .6 and .8, then that of .92; the fourth is the surest image of all.
    assert [deferral.errors for deferral in analysis.deferrals] == [4, 3, 2, 1, 1]
    assert [deferral.accuracy.value for deferral in analysis.deferrals] == pytest.approx(
        [16 / 20, 16 / 19, 16 / 18, 15 / 16, 13 / 14]
    )
    correct = (probabilities >= 0.5) == labels
    confidence = np.maximum(probabilities, 1 - probabilities)
    assert analysis.risk == pytest.approx(risk_coverage(confidence, correct))
    assert analysis.area_under_risk == pytest.approx(np.mean(analysis.risk))
    assert analysis.area_at_best == pytest.approx(np.mean([0] * 16 + [1 / 17, 2 / 18, 3 / 19, 4 / 20]))
    assert analysis.finders["confidence of the classifier"].value == pytest.approx(roc_auc_score(correct, confidence))
    assert analysis.finders["nearness of the nearest training image"].value == pytest.approx(
        roc_auc_score(correct, -around.nearest)
    )
    assert analysis.nearest_right == pytest.approx(np.median(around.nearest[correct]))


def test_the_report_counts_kinds_by_class():
    probabilities, labels, around = case()
    analysis = analyse_failures(probabilities, 0.5, labels, around, NAMES)
    text = failure_markdown(analysis)
    assert "4 of 20 images are misclassified: 2 with a confidence of 0.9 or more, 1 below 0.75." in text
    for kind in KINDS:
        assert f"| {kind} | 1 | 0 |" in text
    assert "| #0 | normal | pneumonia | 0.970 | 100% | 0% | 0.5000 | isolated |" in surest_errors(analysis)


def test_no_errors_and_only_errors():
    _, labels, around = case()
    perfect = analyse_failures(labels * 0.8 + 0.1, 0.5, labels, around, NAMES)
    assert perfect.failures == () and perfect.area_under_risk == 0
    assert failure_markdown(perfect) == "No errors among 20 images.\n"
    hopeless = analyse_failures(0.9 - labels * 0.8, 0.5, labels, around, NAMES)
    assert len(hopeless.failures) == 20 and "isolated" not in {failure.kind for failure in hopeless.failures}
    assert "20 of 20" in failure_markdown(hopeless)


def test_several_classes():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    around = Neighbourhood(np.array([1.0, 0.2, 1.0]), np.array([1.0, 0.8, 1.0]), np.array([0.1, 0.1, 0.1]))
    analysis = analyse_failures(probabilities, None, np.array([0, 0, 1]), around, ("a", "b", "c"))
    assert [(f.index, f.true, f.predicted, f.kind) for f in analysis.failures] == [(1, 0, 2, "borderline")]
