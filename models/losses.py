"""Losses of binary classification."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from models.errors import InputError

LossName = Literal["bce", "balanced_bce", "focal"]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def bce(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: tuple[float, float] = (1.0, 1.0),
) -> torch.Tensor:
    """Compute the mean binary cross-entropy.

    Args:
        logits: shape (images,).
        targets: 0 or 1 as float, shape (images,).
        label_smoothing: share of the target that moves to one half, in [0, 1) (Szegedy et al., 2016).
        class_weights: weights of the negative and the positive images, by their unsmoothed targets.

    Returns:
        The loss, a scalar.
    """
    weights = torch.where(targets > 0.5, class_weights[1], class_weights[0])
    smoothed = targets * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, smoothed, weight=weights)


def focal(logits: torch.Tensor, targets: torch.Tensor, *, alpha: float = 0.5, gamma: float = 2.0) -> torch.Tensor:
    """Compute the mean focal loss (Lin et al., 2017), which plays down what is already right.

    Args:
        logits: shape (images,).
        targets: 0 or 1 as float, shape (images,).
        alpha: weight of the positive class, in [0, 1]; that of the negative class is 1 - alpha.
        gamma: focusing exponent, at least 0; at 0 this is the weighted cross-entropy.

    Returns:
        The loss, a scalar.
    """
    return sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma, reduction="mean")


def balanced_class_weights(labels: NDArray[np.integer]) -> tuple[float, float]:
    """Weigh classes so that each counts one half, and the mean weight of the images is 1.

    Args:
        labels: 0 or 1, shape (images,).

    Returns:
        Weights of class 0 and class 1.

    Raises:
        InputError: a class is missing.
    """
    counts = np.bincount(labels, minlength=2)
    if (counts == 0).any():
        raise InputError(
            f"The training labels hold {counts[0]} normal and {counts[1]} pneumonia images, but at least one of each "
            "is needed; use a split with both classes."
        )
    return float(len(labels) / (2 * counts[0])), float(len(labels) / (2 * counts[1]))


def build_loss(name: LossName, labels: NDArray[np.integer], *, label_smoothing: float = 0.0) -> Loss:
    """Choose a loss.

    Args:
        name: `bce`; `balanced_bce`, in which each class counts one half; or `focal` (gamma 2), whose alpha is the
            training share of the negative class, so that it is balanced too.
        labels: training labels, 0 or 1, shape (images,).
        label_smoothing: share of the target that moves to one half, in the two cross-entropies. The focal loss is
            defined for hard targets and takes none.

    Returns:
        A function of logits and float targets, both of shape (images,), that gives a scalar.

    Raises:
        InputError: the name is unknown, or a class is missing.
    """
    if name not in get_args(LossName):
        raise InputError(f"Unknown loss {name!r}; choose one of: {', '.join(get_args(LossName))}.")
    weights = balanced_class_weights(labels)
    if name == "focal":
        alpha = weights[1] / sum(weights)
        return lambda logits, targets: focal(logits, targets, alpha=alpha)
    if name == "bce":
        weights = (1.0, 1.0)
    return lambda logits, targets: bce(logits, targets, label_smoothing=label_smoothing, class_weights=weights)
