"""The classifier's embedding tuned for search, by what a network sees that never learnt these classes."""

import hashlib

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from models.choices import Architecture
from models.classifier.classifiers import Classifier, build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization
from models.classifier.pretrained import imagenet_file
from models.encoders.classifier import ClassifierEncoder
from models.encoders.encoder import Encoder
from models.errors import InputError
from models.safetensors_metadata import load_tensors
from models.text import printable
from models.vector_index import normalize

SHARE = 0.5
"""Length of the second part beside the first, whose length is one: chosen on validation among .3, .5 and .7."""

COMPONENTS = 256
"""Principal components of the second part: fewer change little on validation, and more only take space."""

_ARCHITECTURE: Architecture = "efficientnet_lite0"
_PHOTOGRAPHS = Normalization([0.5], [0.5])  # as the weights were trained


class MetricEncoder(Encoder):
    """Two unit vectors one behind the other: the classifier's embedding, and features of a network for photographs.

    A classifier's embedding keeps little but the class, so that among images of one class chance decides who is near,
    and an image of the other class beside them is not told apart. Features of EfficientNet-Lite0, trained on ImageNet
    and on no X-ray, say what the images look like. No label draws them together, which would carry the shift between
    the splits along. The cosine of the result is the weighted mean of both cosines.

    Args:
        classifier: the classifier, as `models.classifier.weights.dump` wrote it.
        projection: what becomes of the other network's features, as `fit_projection` made it.
        device: "cpu" or "cuda".

    Raises:
        InputError: the bytes are damaged, or are not such weights.
    """

    def __init__(self, classifier: bytes, projection: bytes, *, device: str = "cpu") -> None:
        self._classifier = ClassifierEncoder(classifier, device=device)
        self._backbone = _backbone().to(device)
        try:
            tensors = load_tensors(projection)
            self._mean, self._components = tensors["mean"].numpy(), tensors["components"].numpy()
            if self._mean.ndim != 1 or self._components.ndim != 2 or len(self._mean) != len(self._components):
                raise ValueError("its shapes do not belong together")
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"The projection of the encoder `metric` cannot be read ({printable(error)}); fit it again on the "
                "training split."
            ) from error
        self.name = "metric"
        self.dimension = self._classifier.dimension + self._components.shape[1]
        self.licence = "Apache-2.0, and that of the data which it was trained on"
        parts = (classifier, projection, imagenet_file(_ARCHITECTURE).read_bytes())
        self.identity = (
            f"metric sha256:{hashlib.sha256(b''.join(hashlib.sha256(p).digest() for p in parts)).hexdigest()}"
        )
        self.preprocessing = (
            f"{self._classifier.preprocessing} EfficientNet-Lite0 reads them from −1 to 1, enlarged four times by "
            "bicubic interpolation, and its features are averaged in the same way."
        )

    def encode_images(self, images: NDArray[np.uint8], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Turn images into vectors, as in `Encoder`; they must have the size that the classifier was trained on."""
        trained = self._classifier.encode_images(images, batch_size=batch_size)
        seen = (_features(self._backbone, images, batch_size) - self._mean) @ self._components
        return np.concatenate([normalize(trained), SHARE * normalize(seen)], axis=1)


def fit_projection(train_images: NDArray[np.uint8]) -> bytes:
    """Find what to keep of the second part: the principal components of its features, each feature standardised.

    Args:
        train_images: the training split, shape (images, height, width), 0–255, at least as many as components.

    Returns:
        Safetensors: the mean of each feature, shape (features,), and the components, shape (features, components),
        with the standardisation in them.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    found = _features(_backbone(), train_images, 64).astype(np.float64)
    scaler = StandardScaler().fit(found)  # a feature that never moves is divided by one
    kept = min(COMPONENTS, len(found) - 1)
    principal = PCA(kept, svd_solver="covariance_eigh").fit(scaler.transform(found))
    tensors = {
        "mean": scaler.mean_.astype(np.float32),
        "components": np.ascontiguousarray((principal.components_ / scaler.scale_).T, dtype=np.float32),
    }
    return safetensors.numpy.save(tensors)


def _backbone() -> Classifier:
    return build_classifier(_ARCHITECTURE, pretrained=imagenet_file(_ARCHITECTURE)).eval()


def _features(backbone: Classifier, images: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
    return predict(backbone, images, _PHOTOGRAPHS, batch_size=batch_size).embeddings
