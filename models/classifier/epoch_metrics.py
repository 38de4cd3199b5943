"""What one epoch of a training did. It imports nothing, since records and the tracker use it too."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch of a training did.

    Attributes:
        epoch: number, from 1.
        train_loss: mean training loss over the steps, of the raw weights on augmented images.
        val_loss: class-balanced log-loss of the averaged weights on validation; the best epoch is the one with the
            lowest.
        val_auc: area under the ROC curve of the averaged weights on validation; for three or more classes the
            one-vs-rest macro average.
        learning_rate: of the last step.
        seconds: wall time of the epoch, validation included.
        finished_at: Unix time in milliseconds.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_auc: float
    learning_rate: float
    seconds: float
    finished_at: int
