import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from models.classifier.corruptions import CORRUPTIONS, SEVERITIES
from tasks.classification.metrics import score
from tasks.classification.trust.calibration import fit_temperature
from tasks.classification.trust.robustness import (
    ALEXNET,
    ALEXNET_CLEAN,
    SplitRobustness,
    measure_robustness,
    recalibrations,
    relative_errors,
    robustness_markdown,
    robustness_metrics,
)
from tasks.shared.estimates import Estimate

IMAGES = 40


def logits_of(seed):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(IMAGES) % 4 > 0).astype(np.int64)
    clean = random.normal(4 * labels - 2, 2)
    harm = np.linspace(0, 3, len(CORRUPTIONS) * len(SEVERITIES)).reshape(len(CORRUPTIONS), len(SEVERITIES), 1)
    return clean, clean - harm * random.random(IMAGES) * 2, labels


@pytest.fixture(scope="module")
def splits():
    found = {}
    for seed, split in enumerate(("val", "test")):
        clean, corrupted, labels = logits_of(seed)
        found[split] = measure_robustness(split, expit(clean), expit(corrupted), labels, 0.5)
    return found


def test_errors_agree_with_scikit_learn_one_by_one(splits):
    clean, corrupted, labels = logits_of(1)
    found = splits["test"]
    every = []
    for kind, of_kind in zip(CORRUPTIONS, corrupted, strict=True):
        errors = [1 - balanced_accuracy_score(labels, logits >= 0) for logits in of_kind]
        assert found.errors[kind] == pytest.approx(errors)
        every += errors
    assert found.mean.value == pytest.approx(np.mean(every))
    assert found.mean.low < found.mean.value < found.mean.high
    assert found.clean == pytest.approx(1 - balanced_accuracy_score(labels, clean >= 0))


def test_alexnet_beside_itself_is_one_and_half_its_errors_are_half():
    errors = {kind: (error,) * 5 for kind, error in ALEXNET.items()}
    itself = SplitRobustness("test", 624, ALEXNET_CLEAN, errors, Estimate(0, 0, 0, 624))
    balanced, relative = relative_errors(itself)
    assert list(balanced.values()) == pytest.approx([1.0] * 13)
    assert list(relative.values()) == pytest.approx([1.0] * 13)
    halved = {kind: (error / 2,) * 5 for kind, error in ALEXNET.items()}
    balanced, relative = relative_errors(SplitRobustness("test", 624, ALEXNET_CLEAN / 2, halved, itself.mean))
    assert list(balanced.values()) == pytest.approx([0.5] * 13)
    assert list(relative.values()) == pytest.approx([0.5] * 13)


def test_metrics_are_means_by_split_and_kind(splits):
    metrics = robustness_metrics(splits)
    assert metrics["robustness/val/pixelate"] == pytest.approx(np.mean(splits["val"].errors["pixelate"]))
    assert metrics["robustness/test/balanced_error"] == splits["test"].mean.value
    assert metrics["robustness/test/balanced_error_ci_low"] < metrics["robustness/test/balanced_error_ci_high"]
    assert metrics["robustness/test/be"] == pytest.approx(
        np.mean([metrics[f"robustness/test/{kind}"] / ALEXNET[kind] for kind in CORRUPTIONS])
    )


def test_the_calibrations_of_corrupted_images_agree_with_scikit_learn(splits):
    _, corrupted, labels = logits_of(0)
    test_logits, _, test_labels = logits_of(1)
    in_use, temperature, logistic = recalibrations(1.5, corrupted, labels, test_logits, test_labels)
    assert (in_use.slope, in_use.bias) == (1 / 1.5, 0)
    assert in_use.ece == score(expit(test_logits / 1.5), test_labels, 0.5)["ece"]
    repeated = np.concatenate([labels] * 65)
    assert temperature.slope == 1 / fit_temperature(corrupted.ravel(), repeated)
    fitted = LogisticRegression(C=np.inf, class_weight="balanced").fit(corrupted.reshape(-1, 1), repeated)
    assert logistic.slope == pytest.approx(fitted.coef_[0, 0], rel=1e-2)
    assert logistic.bias == pytest.approx(fitted.intercept_[0], abs=1e-2)
    wrong = fitted.predict_proba(test_logits[:, None])[:, 1] - test_labels
    assert logistic.brier == pytest.approx(np.mean(wrong**2), rel=1e-2)
    text = robustness_markdown(splits, (in_use, temperature, logistic))
    assert f"| none: as they are |  | {splits['val'].clean:.3f} | {splits['test'].clean:.3f} |" in text
    assert f"| {temperature.name} | {temperature.slope:.3f} | 0.000 | {temperature.ece:.3f} |" in text
    assert text.count("\n| ") == 2 + 13 + 2 + 2 + 3  # header, rule and rows of both tables
