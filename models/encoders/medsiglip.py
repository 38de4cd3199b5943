"""MedSigLIP: a SigLIP trained further on medical images and their reports, chest X-rays among them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.encoders.checkpoint import Layout
from models.encoders.published import PublishedEncoder
from models.encoders.transformers_weights import load_network

if TYPE_CHECKING:
    import torch
    from torch import nn


class MedSiglip(PublishedEncoder):
    """Sellergren et al., "MedGemma technical report", 2025; the architecture is of Zhai et al., 2023.

    As its card asks of who wants its published results, images are resized as TensorFlow does, not as the checkpoint's
    image processor would; that normalises them. Texts are padded to 64 tokens, with which it was trained.
    """

    name = "medsiglip"
    licence = "Health AI Developer Foundations terms of use"
    model = "google/medsiglip-448"
    revision = "9cea28a1a1195f665105faa6e8544c112fd960a4"
    gated = True
    layout = Layout(
        title="a SigLIP model",
        config="config.json",
        fits=lambda config: config.get("model_type") == "siglip",
        others=(
            ("preprocessor_config.json", "processor_config.json"),
            ("spiece.model",),
            ("tokenizer_config.json",),
        ),
        safetensors="model.safetensors",
        pickle="pytorch_model.bin",
    )

    def _load(self, folder: Path) -> Any:
        from transformers import SiglipImageProcessor, SiglipModel, SiglipTokenizer

        self._processor: Any = SiglipImageProcessor.from_pretrained(folder, local_files_only=True)
        self._tokenizer: Any = SiglipTokenizer.from_pretrained(folder, local_files_only=True)
        model = load_network(SiglipModel, folder)
        self.dimension = model.config.vision_config.hidden_size
        return model

    def patch_layer(self) -> "tuple[nn.Module, int]":
        """Return the last layer, whose tokens, all of patches, are pooled by attention."""
        return self._model.vision_model.post_layernorm, 0

    def _embed_images(self, images: NDArray[np.uint8]) -> "torch.Tensor":
        sides = self._processor.size
        inputs = self._processor(
            list(resize_bilinear(images, sides["height"], sides["width"])),
            do_resize=False,
            input_data_format="channels_last",
            device=self.device,
            return_tensors="pt",
        )
        return self._model.get_image_features(**inputs).pooler_output

    def _embed_texts(self, texts: list[str]) -> "torch.Tensor":
        longest = self._model.config.text_config.max_position_embeddings
        used = max(len(tokens) for tokens in self._tokenizer(texts).input_ids)
        self._require_length(used <= longest, longest)
        padded = self._tokenizer(texts, padding="max_length", max_length=longest, return_tensors="pt")
        # Without a mask, as Google serves it: the padding was attended to in its training.
        return self._model.get_text_features(input_ids=padded.input_ids.to(self.device)).pooler_output


def resize_bilinear(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize images as `tf.image.resize(…, method="bilinear", antialias=False)` and a cast to uint8 do.

    The order of the operations in float32 is TensorFlow's too, since the cast cuts off what is behind the point.

    Args:
        images: shape (images, rows, columns, 3), 0–255.
        height: rows of the result.
        width: columns of the result.

    Returns:
        Shape (images, height, width, 3).
    """
    rows, row_shares = _neighbours(images.shape[1], height)
    columns, column_shares = _neighbours(images.shape[2], width)
    levels = images.astype(np.float32)
    left, right = (levels[:, :, positions] for positions in columns)
    across = left + (right - left) * column_shares[:, None]
    top, bottom = (across[:, positions] for positions in rows)
    return (top + (bottom - top) * row_shares[:, None, None]).astype(np.uint8)


def _neighbours(size: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the two pixels that each new pixel lies between, shape (2, wanted), and how near it is to the second."""
    scale = np.float32(size) / np.float32(wanted)
    places = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    before = np.floor(places)
    pair = np.stack([np.maximum(before, 0), np.minimum(np.ceil(places), size - 1)]).astype(np.int64)
    return pair, places - before
