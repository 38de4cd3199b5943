"""What an encoder is: a class that turns images, and some of it texts, into vectors, in the file of its name."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.choices import PUBLISHED_ENCODERS
from models.errors import InputError

REGISTERED: dict[str, "type[Encoder]"] = {}
"""The encoders by name, each since its file was imported."""


class Encoder(ABC):
    """A network that maps images to embeddings, vectors whose cosine says how alike the images are.

    A subclass that declares a name registers itself; it stands in `models/encoders/<name>.py`, or in
    `models/own_encoders/<name>.py` if it is made here, and its name in `models.choices`. What it declares is read
    wherever work is planned, so its file imports PyTorch and the like only when an encoder is made.

    Args:
        weights: the files that it is made of: the classifier if `needs_classifier`, what `fit` gave if `needs_fitting`.
        device: where it computes, "cpu" or "cuda".

    Attributes:
        name: its name.
        licence: under which its weights may be used.
        reads_text: whether it embeds texts too, in the same space.
        needs_classifier: whether it is made of the trained classifier.
        is_classifier: whether its embeddings are the features that the classifier's head reads, so that similarity
            maps explain them and their drift is that of what the classifier sees.
        needs_fitting: whether it learns something from the training images, which `fit` does.
        dimension: length of an embedding.
    """

    name: ClassVar[str]
    licence: ClassVar[str]
    reads_text: ClassVar[bool] = False
    needs_classifier: ClassVar[bool] = False
    is_classifier: ClassVar[bool] = False
    needs_fitting: ClassVar[bool] = False
    dimension: int

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" in vars(cls):
            REGISTERED[cls.name] = cls

    def __init__(self, *weights: bytes, device: str = "cpu") -> None:
        self.device = device

    @staticmethod
    def fit(train_images: NDArray[np.uint8]) -> bytes:
        """Learn what `needs_fitting` says.

        Args:
            train_images: the training split, shape (images, height, width), 0–255.

        Returns:
            A file of the weights.
        """
        raise NotImplementedError

    @classmethod
    def identify(cls, *digests: str) -> str:
        """Name what makes embeddings: those of two encoders may be compared only when their identities are the same.

        Args:
            digests: SHA-256 of each file of the weights, as hexadecimal digits.

        Returns:
            The name and a digest of the weights.
        """
        if not digests:
            return cls.name
        whole = digests[0] if len(digests) == 1 else hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()
        return f"{cls.name} sha256:{whole}"

    @abstractmethod
    def encode_images(self, images: NDArray[np.uint8], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Embed images.

        Args:
            images: shape (images, height, width) or (images, height, width, 3), 0–255.
            batch_size: images per forward pass; only they are in memory as floats.

        Returns:
            Embeddings, not normalised, shape (images, dimension).

        Raises:
            InputError: the images are not uint8 of such a shape.
        """

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts in the space of the images.

        Args:
            texts: the texts, in English.

        Returns:
            Embeddings, not normalised, shape (texts, dimension).

        Raises:
            InputError: the encoder reads no text, or a text is empty or too long for it.
        """
        self.require_text()
        raise NotImplementedError

    @classmethod
    def require_text(cls) -> None:
        """Refuse an encoder that reads no text.

        Raises:
            InputError: it reads none.
        """
        if not cls.reads_text:
            from models.encoders.loading import published_class

            able = ", ".join(name for name in PUBLISHED_ENCODERS if published_class(name).reads_text)
            raise InputError(f"The encoder {cls.name} reads no text; text queries need one of {able}.")
