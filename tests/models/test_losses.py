import math

import numpy as np
import pytest
import torch

from models.errors import InputError
from models.losses import balanced_class_weights, bce, build_loss, focal

LABELS = np.array([1, 1, 1, 0, 1, 1, 0, 1])


def case(seed=0, count=8):
    logits = torch.randn(count, generator=torch.Generator().manual_seed(seed)) * 2
    return logits, torch.tensor(LABELS, dtype=torch.float32)


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def naive_bce(logits, targets, smoothing, weights):
    total = 0.0
    for logit, target in zip(logits.tolist(), targets.tolist(), strict=True):
        smoothed = 1 - smoothing / 2 if target == 1 else smoothing / 2
        p = sigmoid(logit)
        total += -weights[int(target)] * (smoothed * math.log(p) + (1 - smoothed) * math.log(1 - p))
    return total / len(logits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 0.5)])
def test_cross_entropy_is_the_formula(smoothing, weights):
    logits, targets = case()
    ours = bce(logits, targets, label_smoothing=smoothing, class_weights=weights)
    assert float(ours) == pytest.approx(naive_bce(logits, targets, smoothing, weights), rel=1e-5)


def test_focal_loss_is_the_formula_of_the_paper():
    logits, targets = case(1)
    total = 0.0
    for logit, target in zip(logits.tolist(), targets.tolist(), strict=True):
        p = sigmoid(logit) if target == 1 else 1 - sigmoid(logit)
        alpha = 0.3 if target == 1 else 0.7
        total += -alpha * (1 - p) ** 2 * math.log(p)
    assert float(focal(logits, targets, alpha=0.3, gamma=2.0)) == pytest.approx(total / 8, rel=1e-5)


def test_balanced_weights_make_classes_equal_and_average_to_one():
    weights = balanced_class_weights(LABELS)
    assert weights[0] * 2 == pytest.approx(weights[1] * 6)
    assert np.mean([weights[label] for label in LABELS]) == pytest.approx(1)


def test_loss_by_name():
    logits, targets = case(2)
    expected = {
        "bce": naive_bce(logits, targets, 0.05, (1, 1)),
        "balanced_bce": naive_bce(logits, targets, 0.05, (2, 2 / 3)),
        "focal": float(focal(logits, targets, alpha=0.25)),
    }
    for name, value in expected.items():
        loss = build_loss(name, LABELS, label_smoothing=0.05)(logits, targets)
        assert float(loss) == pytest.approx(value, rel=1e-5), name


def test_what_makes_no_loss_is_refused():
    with pytest.raises(InputError, match="Unknown loss 'hinge'"):
        build_loss("hinge", LABELS)
    with pytest.raises(InputError, match="0 normal and 4 pneumonia"):
        build_loss("balanced_bce", np.ones(4, int))
