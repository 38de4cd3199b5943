"""Logits and embeddings of many images."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier.classifiers import Classifier
from models.classifier.preprocessing import Normalization, to_tensor


@dataclass(frozen=True)
class Prediction:
    """Outputs of a classifier.

    Attributes:
        logits: float32; for two classes the log-odds of class 1, shape (images,), otherwise shape (images, classes).
        embeddings: features before the head, float32, shape (images, embedding_size), not normalised.
    """

    logits: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def predict(
    model: Classifier,
    images: NDArray[np.uint8],
    normalization: Normalization,
    *,
    batch_size: int = 256,
    flip: bool = True,
) -> Prediction:
    """Run a classifier over images.

    Args:
        model: the classifier, on any device; its training mode is restored.
        images: shape (images, height, width) or (images, height, width, 3), 0–255.
        normalization: statistics of the training pixels.
        batch_size: images per forward pass.
        flip: test-time augmentation: average the features over the image and its mirror image, where the network is
            made for it. The head is linear, so this averages the logits too.

    Returns:
        Logits and embeddings, in the order of the images.

    Raises:
        InputError: the images are not uint8 of such a shape, or have other channels than the normalisation.
    """
    device = next(model.parameters()).device
    training, batch_size = model.training, min(batch_size, model.largest_batch)
    model.eval()
    logits, embeddings = [], []
    try:
        with torch.inference_mode():
            # At least one batch, so that no images give empty arrays of the right shapes.
            for start in range(0, max(len(images), 1), batch_size):
                batch = to_tensor(images[start : start + batch_size], normalization)
                pixels = batch.to(device, memory_format=torch.channels_last)
                features = model.embed(pixels)
                if flip and model.mirrored:
                    features = (features + model.embed(pixels.flip(-1))) / 2
                embeddings.append(features.cpu().numpy())
                logits.append(model.classify(features).cpu().numpy())
    finally:
        model.train(training)
    return Prediction(np.concatenate(logits), np.concatenate(embeddings))
