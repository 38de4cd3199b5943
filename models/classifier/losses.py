"""Losses of classification, for hard labels and for targets that are shared between classes.

Targets are probabilities: of class 1, shape (images,), where there are two classes and one logit; else of every class,
shape (images, classes). Every loss is linear in them, so that a target shared between classes (mixup)
costs the same shares of what each class would cost.
"""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from models.errors import InputError

LossName = Literal["bce", "balanced_bce", "cross_entropy", "balanced_cross_entropy", "focal"]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

TWO_CLASSES: tuple[LossName, ...] = ("bce", "balanced_bce", "focal")
MORE_CLASSES: tuple[LossName, ...] = ("cross_entropy", "balanced_cross_entropy", "focal")


def check_loss(name: LossName, classes: int, *, focal_alpha: float | None = None) -> None:
    """Refuse a loss that does not fit the number of classes.

    Args:
        name: the loss.
        classes: number of classes, at least 2.
        focal_alpha: weight of class 1 in the focal loss.

    Raises:
        InputError: the name is unknown or the loss does not fit.
    """
    if name not in get_args(LossName):
        raise InputError(f"Unknown loss {name!r}; choose one of: {', '.join(get_args(LossName))}.")
    fitting = TWO_CLASSES if classes == 2 else MORE_CLASSES
    if name not in fitting:
        raise InputError(
            f"The loss {name!r} does not fit a data set of {classes} classes; choose one of: {', '.join(fitting)}."
        )
    if name == "focal" and classes > 2 and focal_alpha is not None:
        raise InputError(
            f"focal_alpha is {focal_alpha:g}, but it weighs one class against one other and the data set has {classes} "
            "classes; leave it empty, which balances the classes."
        )


def bce(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: tuple[float, ...] = (1.0, 1.0),
) -> torch.Tensor:
    """Compute the mean binary cross-entropy.

    Args:
        logits: log-odds of class 1, shape (images,).
        targets: probability of class 1, shape (images,).
        label_smoothing: share of the target that moves to one half, in [0, 1) (Szegedy et al., 2016).
        class_weights: weights of class 0 and class 1, by the unsmoothed targets.

    Returns:
        The loss, a scalar.
    """
    positive = targets * class_weights[1]
    weights = positive + (1 - targets) * class_weights[0]
    smoothed = positive / weights * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, smoothed, weight=weights)


def cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: tuple[float, ...] | None = None,
) -> torch.Tensor:
    """Compute the mean cross-entropy over several classes.

    Args:
        logits: shape (images, classes).
        targets: probabilities, shape (images, classes).
        label_smoothing: share of the target that moves to all classes alike, in [0, 1) (Szegedy et al., 2016).
        class_weights: a weight for each class, by the unsmoothed targets; None weighs all by 1.

    Returns:
        The loss, a scalar.
    """
    weighted = targets * _like(logits, class_weights)
    weights = weighted.sum(dim=1)
    losses = F.cross_entropy(logits, weighted / weights.unsqueeze(1), label_smoothing=label_smoothing, reduction="none")
    return (weights * losses).mean()


def binary_focal(
    logits: torch.Tensor, targets: torch.Tensor, *, alpha: float = 0.5, gamma: float = 2.0
) -> torch.Tensor:
    """Compute the mean focal loss (Lin et al., 2017), which plays down what is already right.

    Args:
        logits: log-odds of class 1, shape (images,).
        targets: probability of class 1, shape (images,).
        alpha: weight of class 1, in [0, 1]; that of class 0 is 1 - alpha.
        gamma: focusing exponent, at least 0; at 0 this is the weighted cross-entropy.

    Returns:
        The loss, a scalar.
    """
    from torchvision.ops import sigmoid_focal_loss  # torchvision takes seconds, and `check_loss` needs none of it

    # The focal loss is defined for hard labels: a shared target takes its share of the loss of either label.
    negative, positive = (
        sigmoid_focal_loss(logits, torch.full_like(logits, label), alpha=alpha, gamma=gamma) for label in (0, 1)
    )
    return (targets * positive + (1 - targets) * negative).mean()


def softmax_focal(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    gamma: float = 2.0,
    class_weights: tuple[float, ...] | None = None,
) -> torch.Tensor:
    """Compute the mean focal loss over several classes: the cross-entropy times (1 - p) ** gamma of the label's class.

    Args:
        logits: shape (images, classes).
        targets: probabilities, shape (images, classes).
        gamma: focusing exponent, at least 0; at 0 this is the weighted cross-entropy.
        class_weights: a weight for each class; None weighs all by 1.

    Returns:
        The loss, a scalar.
    """
    logarithms = F.log_softmax(logits, dim=1)
    losses = -logarithms * (1 - logarithms.exp()) ** gamma
    return (targets * _like(logits, class_weights) * losses).sum(dim=1).mean()


def balanced_class_weights(labels: NDArray[np.integer], classes: int = 2) -> tuple[float, ...]:
    """Weigh classes so that each counts the same, and the mean weight of the images is 1.

    Args:
        labels: 0 … classes - 1, shape (images,).
        classes: number of classes.

    Returns:
        A weight for each class.

    Raises:
        InputError: a class is missing.
    """
    counts = np.bincount(labels, minlength=classes)
    if (counts == 0).any():
        raise InputError(
            f"The labels hold {', '.join(map(str, counts))} images of the classes 0 to {classes - 1}, but at least one "
            "of each is needed; use a split with every class."
        )
    return tuple(float(len(labels) / (classes * count)) for count in counts)


def build_loss(
    name: LossName,
    labels: NDArray[np.integer],
    classes: int = 2,
    *,
    label_smoothing: float = 0.0,
    focal_alpha: float | None = None,
    focal_gamma: float = 2.0,
) -> Loss:
    """Choose a loss.

    Args:
        name: `bce` or `balanced_bce` for two classes, `cross_entropy` or `balanced_cross_entropy` for more, `focal` for
            either. In the balanced ones each class counts the same.
        labels: training labels, 0 … classes - 1, shape (images,).
        classes: number of classes.
        label_smoothing: share of the target that moves to all classes alike, in the cross-entropies. The focal loss
            is defined for hard labels and takes none.
        focal_alpha: weight of class 1 against class 0 in the focal loss, in [0, 1]; None balances the classes.
        focal_gamma: focusing exponent of the focal loss, at least 0.

    Returns:
        A function of logits and targets, both of shape (images,) for two classes, else (images, classes), that gives
        a scalar.

    Raises:
        InputError: the loss is unknown or does not fit the number of classes, or a class is missing.
    """
    check_loss(name, classes, focal_alpha=focal_alpha)
    weights = balanced_class_weights(labels, classes)
    if name == "focal" and classes == 2:
        alpha = weights[1] / sum(weights) if focal_alpha is None else focal_alpha
        return lambda logits, targets: binary_focal(logits, targets, alpha=alpha, gamma=focal_gamma)
    if name == "focal":
        return lambda logits, targets: softmax_focal(logits, targets, gamma=focal_gamma, class_weights=weights)
    if not name.startswith("balanced"):
        weights = (1.0,) * classes
    entropy = bce if classes == 2 else cross_entropy
    return lambda logits, targets: entropy(logits, targets, label_smoothing=label_smoothing, class_weights=weights)


def _like(logits: torch.Tensor, class_weights: tuple[float, ...] | None) -> torch.Tensor:
    return logits.new_tensor(class_weights) if class_weights else logits.new_ones(logits.shape[1])
