import contextlib
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.choices import LOSSES, MORE_CLASS_LOSSES, TWO_CLASS_LOSSES
from models.classifier import losses
from models.classifier.fitting_loss import check_loss
from models.classifier.losses import (
    balanced_class_weights,
    bce,
    binary_focal,
    build_loss,
    cross_entropy,
    softmax_focal,
)
from models.classifier.training_settings import TrainingSettings
from models.errors import InputError

LABELS = np.array([1, 1, 1, 0, 1, 1, 0, 1])
THREE = np.array([0, 2, 2, 1, 2, 0, 2, 2])


def case(seed=0):
    logits = torch.randn(8, generator=torch.Generator().manual_seed(seed)) * 2
    return logits, torch.tensor(LABELS, dtype=torch.float32)


def case_of_three(seed=0):
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed)) * 2
    return logits, F.one_hot(torch.tensor(THREE), 3).float()


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def naive_bce(logits, smoothing, weights):
    total = 0.0
    for logit, label in zip(logits.tolist(), LABELS.tolist(), strict=True):
        smoothed = 1 - smoothing / 2 if label == 1 else smoothing / 2
        p = sigmoid(logit)
        total += -weights[label] * (smoothed * math.log(p) + (1 - smoothed) * math.log(1 - p))
    return total / len(logits)


def naive_cross_entropy(logits, smoothing, weights):
    total = 0.0
    for row, label in zip(logits.tolist(), THREE.tolist(), strict=True):
        normalizer = math.log(sum(math.exp(logit) for logit in row))
        for index, logit in enumerate(row):
            smoothed = (1 - smoothing) * (index == label) + smoothing / 3
            total += -weights[label] * smoothed * (logit - normalizer)
    return total / len(logits)


def naive_focal(logits, alpha, gamma):
    total = 0.0
    for logit, label in zip(logits.tolist(), LABELS.tolist(), strict=True):
        p = sigmoid(logit) if label == 1 else 1 - sigmoid(logit)
        total += -(alpha if label == 1 else 1 - alpha) * (1 - p) ** gamma * math.log(p)
    return total / len(logits)


def naive_focal_of_three(logits, weights, gamma):
    total = 0.0
    for row, label in zip(logits.tolist(), THREE.tolist(), strict=True):
        p = math.exp(row[label]) / sum(math.exp(logit) for logit in row)
        total += -weights[label] * (1 - p) ** gamma * math.log(p)
    return total / len(logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 0.5)])
def test_binary_cross_entropy_is_the_formula(smoothing, weights):
    ours = bce(*case(), label_smoothing=smoothing, class_weights=weights)
    assert float(ours) == pytest.approx(naive_bce(case()[0], smoothing, weights), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.5)])
def test_cross_entropy_is_the_formula(smoothing, weights):
    ours = cross_entropy(*case_of_three(), label_smoothing=smoothing, class_weights=weights)
    assert float(ours) == pytest.approx(naive_cross_entropy(case_of_three()[0], smoothing, weights), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.5])
def test_focal_losses_are_the_formula_of_the_paper(gamma):
    logits, targets = case(1)
    ours = binary_focal(logits, targets, alpha=0.3, gamma=gamma)
    assert float(ours) == pytest.approx(naive_focal(logits, 0.3, gamma), rel=1e-5)
    logits, targets = case_of_three(1)
    ours = softmax_focal(logits, targets, gamma=gamma, class_weights=(2.0, 0.5, 1.5))
    assert float(ours) == pytest.approx(naive_focal_of_three(logits, (2.0, 0.5, 1.5), gamma), rel=1e-5)


@pytest.mark.parametrize("name", ["bce", "balanced_bce", "focal"])
def test_a_shared_target_costs_its_shares_of_both_classes(name):
    loss = build_loss(TrainingSettings(loss=name, label_smoothing=0.1), LABELS)
    logit = torch.tensor([0.7])
    whole = [float(loss(logit, torch.tensor([target]))) for target in (0.0, 1.0)]
    assert float(loss(logit, torch.tensor([0.3]))) == pytest.approx(0.7 * whole[0] + 0.3 * whole[1], rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "balanced_cross_entropy", "focal"])
def test_a_target_shared_by_three_costs_its_shares_of_all(name):
    loss = build_loss(TrainingSettings(loss=name, label_smoothing=0.1), THREE, 3)
    logits = torch.tensor([[0.7, -1.0, 0.2]])
    whole = [float(loss(logits, row[None])) for row in torch.eye(3)]
    shared = float(loss(logits, torch.tensor([[0.2, 0.5, 0.3]])))
    assert shared == pytest.approx(0.2 * whole[0] + 0.5 * whole[1] + 0.3 * whole[2], rel=1e-5)


def test_balanced_weights_make_classes_equal_and_average_to_one():
    weights = balanced_class_weights(LABELS)
    assert weights[0] * 2 == pytest.approx(weights[1] * 6)
    assert np.mean([weights[label] for label in LABELS]) == pytest.approx(1)
    assert balanced_class_weights(THREE, 3) == pytest.approx((8 / 6, 8 / 3, 8 / 15))


def test_loss_by_name():
    logits, targets = case(2)
    expected = {
        "bce": naive_bce(logits, 0.05, (1, 1)),
        "balanced_bce": naive_bce(logits, 0.05, (2, 2 / 3)),
        "focal": naive_focal(logits, 0.25, 2),
    }
    for name, value in expected.items():
        loss = build_loss(TrainingSettings(loss=name), LABELS)(logits, targets)
        assert float(loss) == pytest.approx(value, rel=1e-5), name
    focal = build_loss(TrainingSettings(loss="focal", focal_alpha=0.9, focal_gamma=1.0), LABELS)(logits, targets)
    assert float(focal) == pytest.approx(naive_focal(logits, 0.9, 1), rel=1e-5)


def test_loss_of_three_classes_by_name():
    logits, targets = case_of_three(2)
    weights = (8 / 6, 8 / 3, 8 / 15)
    expected = {
        "cross_entropy": naive_cross_entropy(logits, 0.05, (1, 1, 1)),
        "balanced_cross_entropy": naive_cross_entropy(logits, 0.05, weights),
        "focal": naive_focal_of_three(logits, weights, 1.5),
    }
    for name, value in expected.items():
        loss = build_loss(TrainingSettings(loss=name, focal_gamma=1.5), THREE, 3)(logits, targets)
        assert float(loss) == pytest.approx(value, rel=1e-5), name


def test_labels_of_one_class_are_refused():
    with pytest.raises(InputError, match="hold 0, 4 images of the classes 0 to 1"):
        build_loss(TrainingSettings(), np.ones(4, int))


def test_the_names_that_fit_are_those_that_can_be_built():
    for classes, fitting in ((2, TWO_CLASS_LOSSES), (3, MORE_CLASS_LOSSES)):
        assert tuple(losses._losses(classes)) == fitting


def test_every_loss_fits_some_number_of_classes():
    for name in LOSSES:
        fits = []
        for classes in (2, 3):
            with contextlib.suppress(InputError):
                check_loss(name, classes)
                fits.append(classes)
        assert fits, name


@pytest.mark.parametrize(
    ("name", "classes", "sentence"),
    [
        (
            "balanced_bce",
            9,
            "does not fit a data set of 9 classes; choose one of: balanced_cross_entropy, cross_entropy, focal",
        ),
        ("cross_entropy", 2, "does not fit a data set of 2 classes; choose one of: balanced_bce, bce, focal"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(name, classes, sentence):
    with pytest.raises(InputError, match=sentence):
        check_loss(name, classes)


def test_focal_alpha_is_for_two_classes():
    check_loss("focal", 2, focal_alpha=0.4)
    check_loss("focal", 5)
    with pytest.raises(InputError, match=r"focal_alpha is 0\.4"):
        check_loss("focal", 5, focal_alpha=0.4)
