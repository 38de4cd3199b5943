"""Losses of classification, for hard labels and for soft targets (mixup).

Targets are probabilities: of class 1, shape (images,), where there are two classes and one logit; else of every class,
shape (images, classes), which add up to one unless an image may have several labels. Every loss is linear in them: a
soft target costs the weighted mean of what its classes cost.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from models.choices import LossName
from models.classifier.fitting_loss import check_loss
from models.classifier.training_settings import TrainingSettings
from models.errors import InputError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def bce(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float | torch.Tensor] = (1.0, 1.0),
) -> torch.Tensor:
    """Compute the mean binary cross-entropy.

    Args:
        logits: log-odds of class 1, shape (images,); or of each label, shape (images, labels).
        targets: probability of class 1, or of each label, of the same shape.
        label_smoothing: share of the target that moves to one half, in [0, 1) (Szegedy et al., 2016).
        class_weights: weights of class 0 and class 1, by the unsmoothed targets; of several labels those of not having
            and of having each, shape (labels,).

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
        class_weights: a weight per class, by the unsmoothed targets; None weighs all by 1.

    Returns:
        The loss, a scalar.
    """
    weighted = targets * _like(logits, class_weights)
    weights = weighted.sum(dim=1)
    losses = F.cross_entropy(logits, weighted / weights.unsqueeze(1), label_smoothing=label_smoothing, reduction="none")
    return (weights * losses).mean()


def binary_focal(logits: torch.Tensor, targets: torch.Tensor, *, alpha: float, gamma: float) -> torch.Tensor:
    """Compute the mean focal loss (Lin et al., 2017), which down-weights images that are classified well.

    Args:
        logits: log-odds of class 1, shape (images,).
        targets: probability of class 1, shape (images,).
        alpha: weight of class 1, in [0, 1]; that of class 0 is 1 - alpha.
        gamma: focusing exponent, at least 0; at 0 this is the weighted cross-entropy.

    Returns:
        The loss, a scalar.
    """
    from torchvision.ops import sigmoid_focal_loss  # torchvision takes seconds

    # The focal loss is defined for hard labels: a soft target takes its share of the loss of either label.
    negative, positive = (
        sigmoid_focal_loss(logits, torch.full_like(logits, label), alpha=alpha, gamma=gamma) for label in (0, 1)
    )
    return (targets * positive + (1 - targets) * negative).mean()


def softmax_focal(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    gamma: float,
    class_weights: tuple[float, ...],
) -> torch.Tensor:
    """Compute the mean focal loss over several classes: the cross-entropy times (1 - p) ** gamma of the label's class.

    Args:
        logits: shape (images, classes).
        targets: probabilities, shape (images, classes).
        gamma: focusing exponent, at least 0; at 0 this is the weighted cross-entropy.
        class_weights: a weight per class.

    Returns:
        The loss, a scalar.
    """
    logarithms = F.log_softmax(logits, dim=1)
    losses = -logarithms * (1 - logarithms.exp()) ** gamma
    return (targets * _like(logits, class_weights) * losses).sum(dim=1).mean()


def balanced_class_weights(labels: NDArray[np.integer], classes: int = 2) -> tuple[float, ...]:
    """Compute inverse-frequency class weights: each class counts the same, and the mean weight of the images is 1.

    Args:
        labels: 0 … classes - 1, shape (images,).
        classes: number of classes.

    Returns:
        A weight per class.

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


def balanced_label_weights(labels: NDArray[np.integer]) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the weights by which images with a label count as much as those without it.

    Args:
        labels: which labels an image has, 0 or 1, shape (images, labels).

    Returns:
        Weights of not having and of having each label, float32, each of shape (labels,).

    Raises:
        InputError: a label is in all images or in none.
    """
    each = [balanced_class_weights(column) for column in np.asarray(labels).T]
    without, having = zip(*each, strict=True)
    return torch.tensor(without), torch.tensor(having)


def build_loss(settings: TrainingSettings, labels: NDArray[np.integer], classes: int = 2) -> Loss:
    """Build the loss of a training.

    Args:
        settings: its name and its parameters.
        labels: training labels, 0 … classes - 1, shape (images,); or 0 and 1, shape (images, labels).
        classes: number of classes, or of labels.

    Returns:
        A function of logits and targets, both of shape (images,) for two classes, else (images, classes), that returns
        a scalar.

    Raises:
        InputError: the loss does not fit the number of classes, or a class is missing.
    """
    several = labels.ndim == 2
    check_loss(settings.loss, classes, focal_alpha=settings.focal_alpha, several=several)
    if several:
        weights = balanced_label_weights(labels) if settings.loss == "balanced_bce" else None
        return partial(_of_each_label, weights=weights, label_smoothing=settings.label_smoothing)
    return _losses(classes)[settings.loss](settings, balanced_class_weights(labels, classes))


def _of_each_label(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    weights: tuple[torch.Tensor, torch.Tensor] | None,
    label_smoothing: float,
) -> torch.Tensor:
    placed = (1.0, 1.0) if weights is None else tuple(each.to(logits) for each in weights)
    return bce(logits, targets, label_smoothing=label_smoothing, class_weights=placed)


def _like(logits: torch.Tensor, class_weights: tuple[float, ...] | None) -> torch.Tensor:
    return logits.new_tensor(class_weights) if class_weights else logits.new_ones(logits.shape[1])


def _focal_alpha(settings: TrainingSettings, weights: tuple[float, ...]) -> float:
    return weights[1] / sum(weights) if settings.focal_alpha is None else settings.focal_alpha


# From the settings of a training, and the class weights that balance its labels, to its loss.
_Builder = Callable[[TrainingSettings, tuple[float, ...]], Loss]
_TWO_CLASSES: dict[LossName, _Builder] = {
    "balanced_bce": lambda s, w: partial(bce, label_smoothing=s.label_smoothing, class_weights=w),
    "bce": lambda s, w: partial(bce, label_smoothing=s.label_smoothing),
    "focal": lambda s, w: partial(binary_focal, alpha=_focal_alpha(s, w), gamma=s.focal_gamma),
}
_MORE_CLASSES: dict[LossName, _Builder] = {
    "balanced_cross_entropy": lambda s, w: partial(cross_entropy, label_smoothing=s.label_smoothing, class_weights=w),
    "cross_entropy": lambda s, w: partial(cross_entropy, label_smoothing=s.label_smoothing),
    "focal": lambda s, w: partial(softmax_focal, gamma=s.focal_gamma, class_weights=w),
}


def _losses(classes: int) -> dict[LossName, _Builder]:
    return _TWO_CLASSES if classes == 2 else _MORE_CLASSES
