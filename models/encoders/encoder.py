"""What every encoder can do: turn images, and some of them texts, into vectors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.encoders.catalogue import TEXT_ENCODERS
from models.errors import InputError


class Encoder(ABC):
    """A network that maps images to vectors whose cosine says how alike they are.

    Attributes:
        name: its name in the catalogue.
        dimension: numbers a vector.
        licence: under which its weights may be used.
        identity: name, source and revision or digest in one string; vectors may be compared only when it is the same.
        preprocessing: what is done to an image first, in one sentence: side, resampling, normalisation.
    """

    name: str
    dimension: int
    licence: str
    identity: str
    preprocessing: str

    @abstractmethod
    def encode_images(self, images: NDArray[np.uint8], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Turn images into vectors.

        Args:
            images: shape (images, height, width) or (images, height, width, 3), 0–255.
            batch_size: images a pass; only they are in memory as floats.

        Returns:
            Vectors, not normalised, shape (images, dimension).

        Raises:
            InputError: the images are not uint8 of such a shape.
        """

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Turn texts into vectors that can be compared with those of the images.

        Args:
            texts: the texts, in English.

        Returns:
            Vectors, not normalised, shape (texts, dimension).

        Raises:
            InputError: the encoder reads no text, or a text is empty or too long for it.
        """
        raise InputError(f"The encoder {self.name} reads no text; text queries need one of {', '.join(TEXT_ENCODERS)}.")
