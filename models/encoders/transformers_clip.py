"""The adapter of transformers: checkpoints of its `CLIPModel`, the architecture of CLIP (Radford et al., 2021).

What of it is not documented is checked in `tests/upstream/test_transformers_clip.py`.
"""

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


class TransformersClip(PublishedEncoder):
    """The projected features of both towers of a `CLIPModel`, with its own image processor and tokenizer."""

    layout = Layout(
        title="a CLIP model",
        config="config.json",
        fits=lambda config: config.get("model_type") == "clip",
        others=(
            ("preprocessor_config.json", "processor_config.json"),
            ("tokenizer.json",),
            ("tokenizer_config.json",),
        ),
        safetensors="model.safetensors",
        pickle="pytorch_model.bin",
    )

    def _load(self, folder: Path) -> Any:
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        self._processor: Any = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        self._tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        model = load_network(CLIPModel, folder)
        self.dimension = model.config.projection_dim
        return model

    def patch_layer(self) -> "tuple[nn.Module, int]":
        """Return the last layer before the class token looks at the patches."""
        return self._model.vision_model.encoder.layers[-1].layer_norm1, 1

    def _embed_images(self, images: NDArray[np.uint8]) -> "torch.Tensor":
        inputs = self._processor(
            list(images), input_data_format="channels_last", device=self.device, return_tensors="pt"
        )
        return self._model.get_image_features(**inputs).pooler_output

    def _embed_texts(self, texts: list[str]) -> "torch.Tensor":
        inputs = self._tokenizer(texts, padding=True, return_tensors="pt")
        longest = self._model.config.text_config.max_position_embeddings
        self._require_length(inputs.input_ids.shape[1] <= longest, longest)
        return self._model.get_text_features(**inputs.to(self.device)).pooler_output
