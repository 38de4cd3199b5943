"""The classifier without its head as an encoder."""

import numpy as np
from numpy.typing import NDArray

from models.encoders.encoder import Encoder
from models.errors import InputError

OWN_LICENCE = "Apache-2.0, and that of the data which it was trained on"


class ClassifierEncoder(Encoder):
    """The features that a classifier's head reads.

    Args:
        classifier: the classifier, as `models.classifier.weights.dump` wrote it.
        device: "cpu" or "cuda".

    Raises:
        InputError: the bytes are damaged, or are not such a classifier.
    """

    name = "classifier"
    licence = OWN_LICENCE
    needs_classifier = True
    is_classifier = True

    def __init__(self, classifier: bytes, *, device: str = "cpu") -> None:
        from models.classifier import weights
        from models.classifier.preprocessing import Normalization

        super().__init__(device=device)
        model, card = weights.load(classifier)
        self._model = model.to(device)
        self._side: int | None = card.get("image_size")
        self._normalization = Normalization(**card["normalization"])
        self.dimension = model.embedding_size
        self.channels = model.channels

    def encode_images(self, images: NDArray[np.uint8], *, batch_size: int = 256) -> NDArray[np.float32]:
        """Embed images, as in `Encoder`; they must have the size that the classifier was trained on."""
        from models.classifier.prediction import predict

        if self._side is not None and images.shape[1:3] != (self._side, self._side):
            raise InputError(
                f"Images are of shape {images.shape}, but the classifier reads {self._side}×{self._side} pixels; "
                "resize them first."
            )
        return predict(self._model, images, self._normalization, batch_size=batch_size).embeddings
