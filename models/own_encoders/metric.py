"""The classifier's embedding tuned for search, by what a network sees that never learnt these classes."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.choices import Architecture
from models.encoders.encoder import Encoder
from models.errors import InputError
from models.own_encoders.classifier import OWN_LICENCE, ClassifierEncoder
from models.text import printable

if TYPE_CHECKING:
    from models.classifier.classifiers import Classifier

SHARE = 0.5
"""Length of the second part beside the first, whose length is one: chosen on validation among .3, .5 and .7."""

COMPONENTS = 256
"""Principal components of the second part: fewer change little on validation, and more only take space."""

_ARCHITECTURE: Architecture = "efficientnet_lite0"


class MetricEncoder(Encoder):
    """Two unit vectors side by side: the classifier's embedding, and features of a network for photographs.

    A classifier's embedding keeps little but the class, so that among images of one class chance decides who is near,
    and an image of the other class beside them is not told apart. Features of EfficientNet-Lite0, trained on ImageNet
    and on no X-ray, say what the images look like. No label draws them together, which would carry the shift between
    the splits along. The cosine of the result is the weighted mean of both cosines.

    Args:
        classifier: the classifier, as `models.classifier.weights.dump` wrote it.
        projection: what becomes of the other network's features, as `fit` made it.
        device: "cpu" or "cuda".

    Raises:
        InputError: the bytes are damaged, or are not such weights.
    """

    name = "metric"
    licence = OWN_LICENCE
    needs_classifier = True
    needs_fitting = True

    def __init__(self, classifier: bytes, projection: bytes, *, device: str = "cpu") -> None:
        from models.safetensors_metadata import load_tensors

        super().__init__(device=device)
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
        self.dimension = self._classifier.dimension + self._components.shape[1]

    @staticmethod
    def fit(train_images: NDArray[np.uint8]) -> bytes:
        """Find what to keep of the second part: the principal components of its standardised features.

        Args:
            train_images: the training split, shape (images, height, width), 0–255, more images than components.

        Returns:
            Safetensors: the mean of each feature, shape (features,), and the components, shape (features, components),
            with the standardisation in them.
        """
        import safetensors.numpy
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

    @classmethod
    def identify(cls, *digests: str) -> str:
        """Name what makes embeddings, as in `Encoder`; the network for photographs counts too."""
        from models.classifier.pretrained import imagenet_file

        return super().identify(*digests, hashlib.sha256(imagenet_file(_ARCHITECTURE).read_bytes()).hexdigest())

    def encode_images(self, images: NDArray[np.uint8], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Embed images, as in `Encoder`; they must have the size that the classifier was trained on."""
        from models.vector_index import normalize

        trained = self._classifier.encode_images(images, batch_size=batch_size)
        seen = (_features(self._backbone, images, batch_size) - self._mean) @ self._components
        return np.concatenate([normalize(trained), SHARE * normalize(seen)], axis=1)


def _backbone() -> "Classifier":
    from models.classifier.classifiers import build_classifier
    from models.classifier.pretrained import imagenet_file

    return build_classifier(_ARCHITECTURE, pretrained=imagenet_file(_ARCHITECTURE)).eval()


def _features(backbone: "Classifier", images: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
    from models.classifier.prediction import predict
    from models.classifier.preprocessing import Normalization

    as_trained = Normalization([0.5], [0.5])
    return predict(backbone, images, as_trained, batch_size=batch_size).embeddings
