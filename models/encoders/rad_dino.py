"""RAD-DINO: a vision transformer trained by DINOv2 on chest X-rays alone, without a label or a text."""

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


class RadDino(PublishedEncoder):
    """Pérez-García et al., "Exploring scalable medical image encoders beyond text supervision", 2025.

    An embedding is the CLS token after the last layer's normalisation, which the model card recommends for
    classification and search. Sides, mean and deviation are those of the checkpoint's own image processor: the shorter
    side becomes 518 pixels, and the middle is cropped.
    """

    name = "rad_dino"
    licence = "MIT"
    model = "microsoft/rad-dino"
    revision = "110cbc18d5133582e320b43d53bf5c44e410c936"
    reads_text = False
    layout = Layout(
        title="a DINOv2 model",
        config="config.json",
        fits=lambda config: config.get("model_type") == "dinov2",
        others=(("preprocessor_config.json", "processor_config.json"),),
        safetensors="model.safetensors",
        pickle="pytorch_model.bin",
    )

    def _load(self, folder: Path) -> Any:
        from transformers import BitImageProcessor, Dinov2Model

        self._processor: Any = BitImageProcessor.from_pretrained(folder, local_files_only=True)
        model = load_network(Dinov2Model, folder)
        self.dimension = model.config.hidden_size
        return model

    def patch_layer(self) -> "tuple[nn.Module, int]":
        """Return the last layer before the class token looks at the patches."""
        return self._model.encoder.layer[-1].norm1, 1

    def _embed_images(self, images: NDArray[np.uint8]) -> "torch.Tensor":
        inputs = self._processor(
            list(images), input_data_format="channels_last", device=self.device, return_tensors="pt"
        )
        return self._model(**inputs).pooler_output
