"""What the scoring server answers: a probability by the name of each class, for arrays of pixels and for image files.

MLflow loads this module as a model of its own. The registered one takes stored pixels alone, and answers what it cannot
take with NaN; here it is refused in one sentence.
"""

import base64
import binascii
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from numpy.typing import NDArray

from models.classifier.serving import ServedPackage
from models.errors import InputError
from models.text import printable
from tasks.data.pictures.image_file import read_image
from tasks.shared.model_size import to_model_size

PACKAGE = "classifier.safetensors"
"""File, beside `MLmodel`, with the classifier: of what is registered, the part that runs no code when it is read."""


class RefusedInput(MlflowException):
    """An input that is answered with status 400 and a sentence, before which MLflow would print the whole input."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, error_code=INVALID_PARAMETER_VALUE)
        self._sentence = sentence

    def serialize_as_json(self) -> str:
        """Return the body of the answer."""
        return json.dumps({"error_code": self.error_code, "message": self._sentence})


class NamedClassifier:
    """A registered classifier that takes images in several forms and names its classes.

    Args:
        payload: safetensors of `models.classifier.weights.dump`.
    """

    def __init__(self, payload: bytes) -> None:
        self._model = ServedPackage(payload)
        card = self._model.card
        self._labels = list(card["labels"])
        self._size = int(card["image_size"])
        self._shape = (self._size, self._size, *([] if card["channels"] == 1 else [int(card["channels"])]))

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> list[dict[str, float]]:
        """Compute the probabilities of the classes.

        Args:
            data: pixels as they are stored, whole numbers from 0 to 255, shape (images, height, width) or, in colour,
                (images, height, width, 3); or image files in base64, of any size, shape (images).
            params: MLflow's; there are none.

        Returns:
            The probabilities of an image by the names of the classes, an image each.

        Raises:
            RefusedInput: it is neither.
        """
        if not isinstance(data, np.ndarray | list):
            raise RefusedInput(f'Give the images as a list: {{"inputs": …}}, {self._expected()}.')
        values = np.atleast_1d(np.asarray(data))
        images = self._stored(values) if values.dtype.kind in "iuf" else self._decoded(values)
        rows = self._model.predict(images.astype(np.float32))
        return [dict(zip(self._labels, map(float, row), strict=True)) for row in rows]

    def _stored(self, values: NDArray[Any]) -> NDArray[Any]:
        if values.ndim != 1 + len(self._shape) or values.shape[1:] != self._shape or len(values) == 0:
            raise RefusedInput(f"The input has the shape {values.shape}: expected {self._expected()}.")
        fits = (values >= 0) & (values <= 255) & (values == np.round(values))
        if not fits.all():
            image, *place = (int(each) for each in np.argwhere(~fits)[0])
            raise RefusedInput(
                f"Image {image} has the pixel {float(values[image, *place]):g} at {place}: pixels are whole numbers "
                "from 0 to 255, as they are stored; give those that were scaled to [0, 1] times 255, rounded."
            )
        return values

    def _decoded(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        if values.ndim != 1 or not all(isinstance(text, str) for text in values) or len(self._shape) > 2:
            raise RefusedInput(f"The input holds other values than numbers: expected {self._expected()}.")
        with tempfile.TemporaryDirectory() as folder:
            return np.stack([self._read(place, text, Path(folder)) for place, text in enumerate(values)])

    def _read(self, place: int, text: str, folder: Path) -> NDArray[np.uint8]:
        try:
            content = base64.b64decode(text.partition("base64,")[2] or text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RefusedInput(f"Image {place} is not base64 ({printable(error)}): {self._expected()}.") from error
        file = folder / f"image {place}"
        file.write_bytes(content)
        try:
            return to_model_size(read_image(file), self._size)
        except InputError as error:
            raise RefusedInput(str(error).replace(f"{folder}/i", "I")) from error

    def _expected(self) -> str:
        shape = ", ".join(map(str, ("images", *self._shape)))
        files = "" if len(self._shape) > 2 else ", or image files (PNG, JPEG, DICOM …) in base64"
        return f"pixels from 0 to 255 in the shape ({shape}){files}"


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> NamedClassifier:
    """Load the model, as MLflow asks for it by this name.

    Args:
        path: the file `PACKAGE`.
        model_config: MLflow's; there is none.
    """
    return NamedClassifier(Path(path).read_bytes())
