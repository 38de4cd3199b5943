"""Logistic regression on the features of a frozen encoder, its regularisation chosen on validation."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from models.classifier.training import check_labels, validation_scores
from models.classifier.training_state import Weights

STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-12, 3))
"""Values of C, scikit-learn's inverse strength of the L2 regularisation, from 10⁻⁶ to 10 in half decades."""

TIE = 1e-4
"""Log-losses on validation, in nats, that differ by no more are the same: of such the strongest regularisation is
taken."""

_MOST_ITERATIONS = 5000


class Candidate(NamedTuple):
    """A strength of the regularisation, and what it gives.

    Attributes:
        c: the inverse strength.
        val_loss: class-balanced log-loss on validation, in nats.
        val_auc: AUC on validation; for three or more classes the one-vs-rest macro average.
    """

    c: float
    val_loss: float
    val_auc: float


class FittedProbe(NamedTuple):
    """A linear head for features as the encoder gives them.

    Attributes:
        weights: state of `Classifier.head`: `head.weight` and `head.bias`, float32.
        c: the strength that was chosen.
        candidates: all that were tried, weakest C first.
    """

    weights: Weights
    c: float
    candidates: tuple[Candidate, ...]


def fit_probe(
    train_features: NDArray[np.floating],
    train_labels: NDArray[np.integer],
    val_features: NDArray[np.floating],
    val_labels: NDArray[np.integer],
    classes: int,
) -> FittedProbe:
    """Fit a logistic regression for each strength and take the best on validation.

    Features are standardised by the training split, which the head undoes. All classes weigh the same, in the fit and
    in the choice: the lowest class-balanced log-loss on validation, and of those within `TIE` of it the smallest C.
    Nothing is random.

    Args:
        train_features: shape (images, features).
        train_labels: 0 … classes - 1, shape (images,).
        val_features: of validation.
        val_labels: of validation.
        classes: number of classes.

    Returns:
        The head.

    Raises:
        InputError: a split lacks a class.
    """
    check_labels(classes, train_labels, val_labels)
    scaler = StandardScaler().fit(train_features.astype(np.float64))
    scaled, fits = scaler.transform(train_features.astype(np.float64)), []
    for c in STRENGTHS:
        model = LogisticRegression(C=c, class_weight="balanced", max_iter=_MOST_ITERATIONS).fit(scaled, train_labels)
        weight = model.coef_ / scaler.scale_
        bias = model.intercept_ - weight @ scaler.mean_
        logits = torch.from_numpy(val_features.astype(np.float64) @ weight.T + bias)
        scores = validation_scores(logits.squeeze(1) if classes == 2 else logits, val_labels, classes)
        fits.append((Candidate(c, *scores), weight, bias))
    lowest = min(candidate.val_loss for candidate, _, _ in fits)
    chosen, weight, bias = next(fit for fit in fits if fit[0].val_loss <= lowest + TIE)
    state = {"head.weight": torch.from_numpy(weight).float(), "head.bias": torch.from_numpy(bias).float()}
    return FittedProbe(state, chosen.c, tuple(candidate for candidate, _, _ in fits))
