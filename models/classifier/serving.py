"""The classifier as a service needs it: stored pixels in, calibrated probabilities out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.classifier import weights
from models.classifier.classifiers import Classifier
from models.classifier.preprocessing import Normalization


class ServedClassifier(nn.Module):
    """A classifier with its preprocessing, its flip average and its temperature, as one graph for `torch.export`.

    It repeats `preprocessing.to_tensor` and `prediction.predict` in tensor code alone, since an exported
    graph holds only what a tensor went through. That of a probe cannot be exported: its encoder is not in it.

    Args:
        model: the classifier; it is set to evaluation mode.
        normalization: statistics of the training pixels.
        temperature: divisor of the logits, above 0 (Guo et al., 2017).
    """

    def __init__(self, model: Classifier, normalization: Normalization, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.normalization = normalization
        self.temperature = temperature
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the probabilities of the classes.

        Args:
            images: whole numbers 0–255, float32 or uint8, shape (images, height, width) if grey, (images, height,
                width, 3) if in colour.

        Returns:
            Probabilities, float32, shape (images, classes); for two classes both columns are given. All are NaN for an
            image with other pixels, one scaled to [0, 1] for instance, which would else be answered as a black image.
        """
        levels = images.float()
        channels_first = levels.unsqueeze(1) if self.model.channels == 1 else levels.permute(0, 3, 1, 2)
        pixels = self.normalization.apply(channels_first / 255)
        features = self.model.embed(pixels)
        if self.model.mirrored:
            features = (features + self.model.embed(pixels.flip(-1))) / 2
        logits = self.model.classify(features) / self.temperature
        if self.model.classes == 2:
            probabilities = torch.stack([-logits, logits], dim=1).sigmoid()
        else:
            probabilities = logits.softmax(dim=1)
        stored = (levels >= 0) & (levels <= 255) & (levels == levels.round())
        return probabilities.where(stored.flatten(1).all(dim=1, keepdim=True), torch.nan)


class ServedPackage:
    """A classifier as a service asks it, from its weights and card; the encoder of a probe is read where the card says.

    Args:
        payload: the classifier, as it is registered.

    Attributes:
        card: what its file says beside the weights.
    """

    def __init__(self, payload: bytes) -> None:
        model, self.card = weights.load(payload)
        card = self.card
        self._served = ServedClassifier(model, Normalization(**card["normalization"]), card["temperature"])
        self._batch = model.largest_batch

    def predict(self, data: NDArray[np.floating], params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Compute the probabilities of the classes.

        Args:
            data: pixels and their shape as `ServedClassifier` takes them.
            params: of the service; there are none.

        Returns:
            Shape (images, classes).
        """
        with torch.inference_mode():
            parts = [self._served(part) for part in torch.from_numpy(np.array(data)).split(self._batch)]
        return torch.cat(parts).numpy()


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ServedPackage:
    """Load a registered probe, as MLflow asks a module for it by this name.

    Args:
        path: the file of the probe.
        model_config: MLflow's; there is none.
    """
    return ServedPackage(Path(path).read_bytes())
