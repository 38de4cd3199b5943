"""Whether a new classifier is better than the champion, judged on validation by a paired bootstrap.

The criterion is the class-balanced log-loss. The area under the ROC curve is reported beside it, but on validation it
saturates (.995 for anything that works), so that it cannot tell two good classifiers apart.
"""

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from tasks.classification.trust.calibration import by_class, check_every_class
from tasks.records.classification import ComparisonRecord
from tasks.shared.auc import macro_auc
from tasks.shared.paired_bootstrap import paired_difference

SMALLEST_PROBABILITY = 1e-7  # what float32 can tell from 0 beside 1; keeps the loss of a sure error finite


def compare(
    challenger_probabilities: NDArray[np.floating],
    champion_probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    samples: int,
    seed: int = 0,
) -> ComparisonRecord:
    """Compare two classifiers on the same validation images (`tasks.shared.paired_bootstrap`).

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
    check_every_class(labels, challenger.shape[1], "the class-balanced log-loss")
    champion_loss, challenger_loss, difference, low, high = paired_difference(
        _log_losses(champion, labels), _log_losses(challenger, labels), labels, samples=samples, seed=seed
    )
    promoted = low > 0
    auc, champion_auc = macro_auc(challenger, labels), macro_auc(champion, labels)
    reason = (
        f"{'Better' if promoted else 'Not better'} than the champion on validation: class-balanced log-loss "
        f"{challenger_loss:.4f} against {champion_loss:.4f}, improvement {difference:+.4f} "
        f"(95 % paired bootstrap {low:+.4f} to {high:+.4f}, {'above' if promoted else 'not above'} 0); "
        f"AUC {auc:.4f} against {champion_auc:.4f}, for reading only."
    )
    return ComparisonRecord(
        difference=difference,
        low=low,
        high=high,
        promoted=promoted,
        auc=auc,
        champion_auc=champion_auc,
        reason=reason,
    )


def _log_losses(probabilities: NDArray[np.float64], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], SMALLEST_PROBABILITY))
