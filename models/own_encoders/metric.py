"""The classifier's embedding tuned for search, by two descriptions of an image that no label has shaped."""

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
"""Length of each other part beside the first, whose length is one: chosen on validation (docs/protocol.md)."""

COMPONENTS = 256
"""Principal components of each other part: fewer change little on validation, and more only take space."""

_ARCHITECTURE: Architecture = "efficientnet_lite0"
_CELLS, _BLOCK, _DIRECTIONS = 7, 2, 9  # cells a side, of 4 pixels where an image has 28; of a block; of an edge
_EDGES = ((_CELLS - _BLOCK + 1) * _BLOCK) ** 2 * _DIRECTIONS


class MetricEncoder(Encoder):
    """Three vectors side by side: the classifier's embedding, features of a network for photographs, and edges.

    A classifier's embedding keeps little but the class, so that among images of one class chance decides who is near,
    and an image of the other class beside them is not told apart. Features of EfficientNet-Lite0, trained on ImageNet
    and on no X-ray, and histograms of oriented gradients (Dalal and Triggs, "Histograms of Oriented Gradients for Human
    Detection", 2005) say what the images look like. No label draws them together, which would carry the shift between
    the splits along. The cosine of the result is the weighted mean of the three cosines.

    Args:
        classifier: the classifier, as `models.classifier.weights.dump` wrote it.
        projection: what becomes of the other features, as `fit` made it.
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
            self._photograph, self._edges = (
                _Projection(tensors[f"{part}mean"].numpy(), tensors[f"{part}components"].numpy())
                for part in ("", "edges/")
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"The projection of the encoder `metric` cannot be read ({printable(error)}); fit it again on the "
                "training split."
            ) from error
        self.dimension = self._classifier.dimension + self._photograph.dimension + self._edges.dimension

    @staticmethod
    def fit(train_images: NDArray[np.uint8]) -> bytes:
        """Find what to keep of the other parts: their principal components, those of Lite0 standardised before.

        Args:
            train_images: the training split, shape (images, height, width) or (images, height, width, 3), 0–255, more
                images than components.

        Returns:
            Safetensors: of each part the mean of each feature, shape (features,), and the components, shape (features,
            components), with the standardisation in them; `mean` and `components` for Lite0, and `edges/…`.
        """
        import safetensors.numpy

        seen = _components(_features(_backbone(), train_images, 64), standardised=True)
        edges = _components(_oriented_gradients(train_images), standardised=False)
        return safetensors.numpy.save(seen | {f"edges/{name}": tensor for name, tensor in edges.items()})

    @classmethod
    def identify(cls, *digests: str) -> str:
        """Name what makes embeddings, as in `Encoder`; the network for photographs counts too."""
        from models.classifier.pretrained import imagenet_file

        return super().identify(*digests, hashlib.sha256(imagenet_file(_ARCHITECTURE).read_bytes()).hexdigest())

    def encode_images(self, images: NDArray[np.uint8], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Embed images, as in `Encoder`; they must have the size that the classifier was trained on."""
        from models.vector_index import normalize

        trained = self._classifier.encode_images(images, batch_size=batch_size)
        seen = self._photograph.of(_features(self._backbone, images, batch_size))
        edges = self._edges.of(_oriented_gradients(images))
        return np.concatenate([normalize(trained), SHARE * normalize(seen), SHARE * normalize(edges)], axis=1)


class _Projection:
    """Features less their mean, on their components."""

    def __init__(self, mean: NDArray[np.float32], components: NDArray[np.float32]) -> None:
        if mean.ndim != 1 or components.ndim != 2 or len(mean) != len(components):
            raise ValueError("its shapes do not belong together")
        self._mean, self._components = mean, components
        self.dimension = components.shape[1]

    def of(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        if features.shape[1] != len(self._mean):
            raise InputError(
                f"The projection of the encoder `metric` is of {len(self._mean)} features where there are "
                f"{features.shape[1]}; fit it again on the training split."
            )
        return np.asarray((features - self._mean) @ self._components)


def _components(features: NDArray[np.float32], *, standardised: bool) -> dict[str, NDArray[np.float32]]:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    # A feature that never moves is divided by one.
    scaler = StandardScaler(with_std=standardised).fit(features.astype(np.float64))
    kept = min(COMPONENTS, len(features) - 1)
    principal = PCA(kept, svd_solver="covariance_eigh").fit(scaler.transform(features.astype(np.float64)))
    scale = scaler.scale_ if standardised else 1.0
    return {
        "mean": scaler.mean_.astype(np.float32),
        "components": np.ascontiguousarray((principal.components_ / scale).T, dtype=np.float32),
    }


def _oriented_gradients(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe where edges run and which way, shape (images, `_EDGES`) whatever the size of the images."""
    from skimage.feature import hog

    height, width = images.shape[1:3]
    cell = height // _CELLS, width // _CELLS
    cut = images[:, : cell[0] * _CELLS, : cell[1] * _CELLS]
    colours = -1 if images.ndim == 4 else None
    found = [hog(image, _DIRECTIONS, cell, (_BLOCK, _BLOCK), channel_axis=colours) for image in cut]
    return np.asarray(found, np.float32).reshape(len(images), _EDGES)


def _backbone() -> "Classifier":
    from models.classifier.classifiers import build_classifier
    from models.classifier.pretrained import imagenet_file

    return build_classifier(_ARCHITECTURE, pretrained=imagenet_file(_ARCHITECTURE)).eval()


def _features(backbone: "Classifier", images: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
    from models.classifier.prediction import predict
    from models.classifier.preprocessing import Normalization

    as_trained = Normalization([0.5], [0.5])
    return predict(backbone, images, as_trained, batch_size=batch_size).embeddings
