"""Whether a new classifier is better than the champion, judged on validation by a paired bootstrap.

The criterion is the class-balanced log-loss. The area under the ROC curve is reported beside it, but on validation it
saturates (.995 for anything that works), so that it cannot tell two good classifiers apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from tasks.classification.trust.calibration import by_class, check_every_class
from tasks.shared.bootstrap import balanced_interval, balanced_mean

SMALLEST_PROBABILITY = 1e-7  # what float32 can tell from 0 beside 1; keeps the loss of a sure error finite


@dataclass(frozen=True)
class Comparison:
    """What a comparison on validation found.

    Attributes:
        difference: class-balanced log-loss of the champion less that of the challenger; above 0 the challenger wins.
        low: lower bound of its 95 % interval.
        high: upper bound.
        promoted: whether the challenger is better beyond chance: `low` above 0.
        auc: area under the ROC curve of the challenger.
        champion_auc: that of the champion.
        reason: the finding in words.
    """

    difference: float
    low: float
    high: float
    promoted: bool
    auc: float
    champion_auc: float
    reason: str


def compare(
    challenger_probabilities: NDArray[np.floating],
    champion_probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    samples: int,
    seed: int,
) -> Comparison:
    """Compare two classifiers on the same validation images by a paired bootstrap (Efron and Tibshirani, 1993).

    Both are judged on the same resampled images, so that what makes an image hard for both does not count as noise.

    Args:
        challenger_probabilities: of class 1, shape (images,), or of all classes, shape (images, classes).
        champion_probabilities: the same of the champion, in the same order.
        labels: classes, shape (images,).
        samples: number of bootstrap samples.
        seed: seed of the draw.

    Returns:
        The comparison.

    Raises:
        InputError: the two do not speak of the same images and classes, or a class has no image.
    """
    challenger, champion = (
        np.asarray(by_class(values), np.float64) for values in (challenger_probabilities, champion_probabilities)
    )
    if challenger.shape != champion.shape or len(labels) != len(challenger):
        raise InputError(
            f"The challenger's probabilities have shape {challenger.shape}, the champion's {champion.shape}, and there "
            f"are {len(labels)} labels; compare two classifiers on the same images and classes."
        )
    classes = challenger.shape[1]
    check_every_class(labels, classes, "the class-balanced log-loss")
    losses = [_log_losses(probabilities, labels) for probabilities in (challenger, champion)]
    low, high = balanced_interval(losses[1] - losses[0], labels, samples, seed)
    challenger_loss, champion_loss = (balanced_mean(loss, labels) for loss in losses)
    difference = champion_loss - challenger_loss
    promoted = low > 0
    auc, champion_auc = _auc(challenger, labels), _auc(champion, labels)
    reason = (
        f"{'Better' if promoted else 'Not better'} than the champion on validation: class-balanced log-loss "
        f"{challenger_loss:.4f} against {champion_loss:.4f}, improvement {difference:+.4f} "
        f"(95 % paired bootstrap {low:+.4f} to {high:+.4f}, {'above' if promoted else 'not above'} 0); "
        f"AUC {auc:.4f} against {champion_auc:.4f}, for reading only."
    )
    return Comparison(difference, low, high, promoted, auc, champion_auc, reason)


def _log_losses(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], SMALLEST_PROBABILITY))


def _auc(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    from sklearn.metrics import roc_auc_score

    scores = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
    return float(roc_auc_score(labels, scores, multi_class="ovr"))
