"""The classifier without its head as an encoder."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from models.classifier import weights
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from models.encoders.encoder import Encoder
from models.errors import InputError


class ClassifierEncoder(Encoder):
    """The features that a classifier's head reads.

    Args:
        payload: the classifier, as `models.classifier.weights.dump` wrote it.
        device: "cpu" or "cuda".

    Raises:
        InputError: the bytes are damaged, or are not such a classifier.
    """

    def __init__(self, payload: bytes, *, device: str = "cpu") -> None:
        model, card = weights.load(payload)
        self._model = model.to(device)
        self._side: int | None = card.get("image_size")
        self._normalization = Normalization(**card["normalization"])
        self.name = "classifier"
        self.dimension = model.embedding_size
        self.licence = "Apache-2.0, and that of the data which it was trained on"
        self.identity = f"classifier sha256:{hashlib.sha256(payload).hexdigest()}"
        self.preprocessing = _describe(self._side, self._normalization)

    def encode_images(self, images: NDArray[np.uint8], *, batch_size: int = 256) -> NDArray[np.float32]:
        """Turn images into vectors, as in `Encoder`; they must have the size that the classifier was trained on."""
        if self._side is not None and images.shape[1:3] != (self._side, self._side):
            raise InputError(
                f"Images are of shape {images.shape}, but the classifier reads {self._side}×{self._side} pixels; "
                "resize them first."
            )
        return predict(self._model, images, self._normalization, batch_size=batch_size).embeddings


def _describe(side: int | None, normalization: Normalization) -> str:
    size = "their own size" if side is None else f"{side}×{side}"
    means, stds = (", ".join(f"{value:.3f}" for value in values) for values in (normalization.mean, normalization.std))
    return (
        f"The pixels are read at {size}, without resampling, normalised by the mean {means} and the standard "
        f"deviation {stds}, and the features are averaged over the image and its mirror image."
    )
