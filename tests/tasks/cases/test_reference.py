import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from tasks.cases.reference import classify, reliability

GENERATOR = np.random.default_rng(0)
PROBABILITIES = GENERATOR.beta(0.5, 0.5, 200)
LABELS = (GENERATOR.random(200) < PROBABILITIES).astype(np.int64)
KNOWN = {"val_probabilities": PROBABILITIES, "val_labels": LABELS}


@pytest.mark.parametrize("probability", [0.0, 0.4, 0.93])
def test_reliability_is_the_share_among_the_nearest_probabilities(probability):
    found = reliability(probability, PROBABILITIES, LABELS, alike=30)
    nearest = sorted(range(200), key=lambda place: (abs(PROBABILITIES[place] - probability), place))[:30]
    positives = sum(LABELS[nearest])
    low, high = proportion_confint(positives, 30, method="wilson")
    assert (found.images, found.share) == (30, pytest.approx(positives / 30))
    assert (found.share_low, found.share_high) == (pytest.approx(low), pytest.approx(high))
    assert found.low == min(PROBABILITIES[nearest]) and found.high == max(PROBABILITIES[nearest])


def test_sets_hold_the_classes_whose_validation_images_are_as_strange_in_one_of_ten():
    said = classify(np.array([0.02, 0.5, 0.98]), KNOWN, 0.4, ("normal", "pneumonia"))
    for each in said:
        for level, members in each.sets.items():
            for label, name in enumerate(("normal", "pneumonia")):
                strange = [1 - p if label else p for p in PROBABILITIES[label == LABELS]]
                own = 1 - each.probability if label else each.probability
                p_value = (sum(value >= own for value in strange) + 1) / (len(strange) + 1)
                assert (name in members) == (p_value > 1 - float(level) + 1e-9)
    assert [each.label for each in said] == ["normal", "pneumonia", "pneumonia"]


def test_of_more_classes_the_likeliest_counts_and_its_reliability_is_how_often_it_was_right():
    names = ("basophil", "platelet", "monocyte")
    generator = np.random.default_rng(1)
    known = generator.dirichlet((1, 1, 1), 120)
    labels = np.array([generator.choice(3, p=each) for each in known])
    pictures = generator.dirichlet((1, 1, 1), 5)
    said = classify(pictures, {"val_probabilities": known, "val_labels": labels}, None, names)
    for each, picture in zip(said, pictures, strict=True):
        likeliest, second, _ = sorted(range(3), key=lambda place: -picture[place])
        assert (each.label, each.probability, each.threshold) == (names[likeliest], picture[likeliest], None)
        assert each.runner_up == (names[second], picture[second])
        assert each.margin == pytest.approx(picture[likeliest] - picture[second])
        assert each.positive(names) == each.label
        nearest = sorted(range(120), key=lambda place: (abs(known[place].max() - each.probability), place))[:50]
        right = sum(known[place].argmax() == labels[place] for place in nearest)
        assert each.reliability.share == pytest.approx(right / 50)
        for level, members in each.sets.items():
            for label, name in enumerate(names):
                strange = 1 - known[labels == label, label]
                p_value = (sum(strange >= 1 - picture[label]) + 1) / (len(strange) + 1)
                assert (name in members) == (p_value > 1 - float(level) + 1e-9)
