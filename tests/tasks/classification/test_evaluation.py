import numpy as np
import pytest

from tasks.classification.evaluation import evaluate
from tasks.classification.metrics import score, score_with_intervals


def case(seed):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(60) % 2)
    return np.clip(random.normal(0.3 + 0.4 * labels, 0.25), 0, 1), labels


def test_both_splits_are_scored_at_the_threshold_in_use_and_the_oracle_is_no_result():
    splits = {"test": case(0), "val": case(1)}
    found = evaluate(splits, "balanced_accuracy", {"fixed": 0.5, "balanced_accuracy": 0.4}, 50)
    for split, (probabilities, labels) in splits.items():
        expected = score_with_intervals(probabilities, labels, 0.4, samples=50)
        assert {name: found.metrics[f"{split}/{name}"] for name in expected} == expected
    assert found.validation["auc"] == found.metrics["val/auc"]
    in_use, other, oracle = found.operating_points
    assert (in_use["threshold"], other["threshold"]) == (0.4, 0.5)
    assert (in_use["is_result"], other["is_result"], oracle["is_result"]) == (True, True, False)
    probabilities, labels = splits["test"]
    assert oracle["scores"]["accuracy"] == max(score(probabilities, labels, t)["accuracy"] for t in probabilities)
    assert found.predicted.tolist() == (probabilities >= 0.4).astype(int).tolist()
    assert found.confusion.tolist() == [
        [int(((labels == truth) & (found.predicted == guess)).sum()) for guess in range(2)] for truth in range(2)
    ]


def test_more_classes_have_no_operating_points():
    labels = np.arange(30) % 3
    probabilities = np.eye(3)[labels] * 0.4 + 0.2
    found = evaluate({"test": (probabilities, labels), "val": (probabilities, labels)}, None, {}, 20)
    assert found.operating_points == ()
    assert found.confusion.tolist() == (10 * np.eye(3, dtype=int)).tolist()
    assert found.metrics["test/accuracy"] == pytest.approx(1)
