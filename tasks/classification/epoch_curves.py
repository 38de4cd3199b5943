"""The curves of a training, as a tracker shows them."""

from collections.abc import Sequence

from models.classifier.epoch_metrics import EpochMetrics
from tasks.records.base import Point

_CURVES = {
    "train_loss": "train/loss",
    "val_loss": "val/loss",
    "val_auc": "val/auc_by_epoch",
    "learning_rate": "train/learning_rate",
    "seconds": "train/epoch_seconds",
}


def epoch_points(epochs: Sequence[EpochMetrics]) -> list[Point]:
    """Return the points of the curves, at the times at which the epochs ended.

    Args:
        epochs: epochs of a training.
    """
    return [
        Point(name, getattr(epoch, field), epoch.epoch, epoch.finished_at)
        for epoch in epochs
        for field, name in _CURVES.items()
    ]
