"""Probabilities of training images by a small network that never saw them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from models.classifier.training import Checkpoints, train
from models.classifier.training_settings import TrainingSettings
from tasks.classification.trust.calibration import calibrated_probabilities

EPOCHS = 8


def held_out_probabilities(
    arrays: Mapping[str, NDArray[Any]],
    held_out: NDArray[np.bool_],
    excluded: Sequence[int],
    classes: int,
    checkpoints: Checkpoints,
) -> NDArray[np.float64]:
    """Train a small network on the other images, and let it predict these.

    Args:
        arrays: images and labels of `train` and `val`.
        held_out: which training images to predict, shape (training images,).
        excluded: positions of the training images that validation holds too; none is trained on.
        classes: number of classes.
        checkpoints: where the training leaves its state.

    Returns:
        Probabilities of the images held out: of class 1, or of each class.
    """
    kept = np.flatnonzero(~held_out)
    kept = kept[~np.isin(kept, excluded)]
    images, labels = arrays["train_images"][kept], arrays["train_labels"][kept]
    normalization = Normalization.from_images(images)
    settings = TrainingSettings(
        architecture="compact28",
        epochs=EPOCHS,
        batch_size=min(64, len(images)),
        loss="balanced_bce" if classes == 2 else "balanced_cross_entropy",
        ema_decay=0.98,
    )
    splits = images, labels, arrays["val_images"], arrays["val_labels"]
    result = train(*splits, normalization, settings, classes=classes, checkpoints=checkpoints)
    channels = 1 if images.ndim == 3 else images.shape[-1]
    model = build_classifier(settings.architecture, classes=classes, channels=channels)
    model.load_state_dict(result.weights)
    logits = predict(model, arrays["train_images"][held_out], normalization).logits
    return calibrated_probabilities(logits, 1.0)
