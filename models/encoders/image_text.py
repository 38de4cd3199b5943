"""What the encoders of images and texts have in common: checks, batches, device and number format."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.encoders.encoder import Encoder
from models.encoders.source import EncoderSource, published_model
from models.errors import InputError

_TEXTS_A_PASS = 64


class ImageTextEncoder(Encoder):
    """An image tower and a text tower whose vectors share one space.

    On a CPU everything is computed in float32; on a GPU that has it in bf16, except for the vectors themselves.

    Args:
        source: where the weights came from.
        dimension: numbers a vector.
        preprocessing: what is done to an image, in one sentence.
        device: "cpu" or "cuda", where the network is.
    """

    def __init__(self, source: EncoderSource, *, dimension: int, preprocessing: str, device: str) -> None:
        self.name = source.name
        self.dimension = dimension
        self.licence = published_model(source.name).licence
        self.identity = source.identity
        self.preprocessing = preprocessing
        self.device = device
        self._bf16 = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)

    def encode_images(self, images: NDArray[np.uint8], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Turn images into vectors, as in `Encoder`; grey images are read as colour images of equal channels."""
        grey = images.dtype == np.uint8 and images.ndim == 3
        if not grey and not (images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] == 3):
            raise InputError(
                f"Images are {images.dtype} of shape {images.shape}, but uint8 of shape (images, height, width) or "
                "(images, height, width, 3) is expected; convert them first."
            )
        vectors = np.empty((len(images), self.dimension), dtype=np.float32)
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            colour = np.repeat(batch[..., None], 3, axis=3) if grey else np.ascontiguousarray(batch)
            with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self._bf16):
                vectors[start : start + batch_size] = self._embed_images(colour).float().cpu().numpy()
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Turn texts into vectors, as in `Encoder`."""
        for position, text in enumerate(texts):
            if not text.strip():
                raise InputError(
                    f"Text {position + 1} of {len(texts)} is empty; describe what the images should show, such as "
                    '"chest radiograph with consolidation".'
                )
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _TEXTS_A_PASS):
            batch = list(texts[start : start + _TEXTS_A_PASS])
            with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self._bf16):
                vectors[start : start + _TEXTS_A_PASS] = self._embed_texts(batch).float().cpu().numpy()
        return vectors

    @abstractmethod
    def _embed_images(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Preprocess and embed one batch, shape (images, height, width, 3)."""

    @abstractmethod
    def _embed_texts(self, texts: list[str]) -> torch.Tensor:
        """Tokenise and embed one batch."""

    def _refuse_long_text(self, longest: int) -> InputError:
        return InputError(
            f"A text is too long for the encoder {self.name}, which reads {longest} tokens (about {longest // 2} "
            "words); shorten it."
        )


def describe_preprocessing(
    resizing: str, resampling: str, crop: Sequence[int], mean: Sequence[float], std: Sequence[float]
) -> str:
    """Put the preprocessing of an image into one sentence.

    Args:
        resizing: what is resized to how many pixels.
        resampling: name of the interpolation.
        crop: height and width in pixels of what the network reads.
        mean: means of pixels / 255, one a channel.
        std: standard deviations of pixels / 255, one a channel.

    Returns:
        The sentence.
    """
    means, stds = (", ".join(f"{value:.3f}" for value in values) for values in (mean, std))
    return (
        f"Grey is repeated into three channels, {resizing} with {resampling} interpolation and antialiasing, the "
        f"middle {crop[0]}×{crop[1]} pixels are kept, and the channels are normalised by the means {means} and the "
        f"standard deviations {stds}."
    )
