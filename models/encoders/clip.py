"""CLIP and its descendants as Hugging Face's `CLIPModel` (Radford et al., 2021)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Resampling
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer
from transformers.image_utils import ChannelDimension

from models.encoders.image_text import ImageTextEncoder, describe_preprocessing
from models.encoders.source import EncoderSource
from models.errors import InputError


class ClipEncoder(ImageTextEncoder):
    """The projected features of both towers of a `CLIPModel`, with its own image processor and tokenizer.

    Args:
        source: where the files came from.
        folder: the files.
        device: "cpu" or "cuda".

    Raises:
        InputError: the files are damaged or do not belong together.
    """

    def __init__(self, source: EncoderSource, folder: Path, device: str) -> None:
        try:
            self._processor: Any = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
            self._tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            # Safetensors where there are any; else transformers unpickles tensors only (`weights_only`).
            loaded: Any = CLIPModel.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # they are refused here, not in a traceback
                output_loading_info=True,
            )
        except Exception as error:  # damaged files raise many types, tokenizers even bare Exception
            raise InputError(
                f"The checkpoint of {source.name} in {folder} cannot be read ({type(error).__name__}); copy or "
                "download its files again."
            ) from error
        model, report = loaded
        unfit = [*report["missing_keys"], *report["mismatched_keys"], *report["error_msgs"]]
        if unfit:
            raise InputError(
                f"The weights in {folder} do not fit its config.json ({len(unfit)} tensors are missing or of another "
                f"shape, such as {unfit[0]}); copy or download the checkpoint again."
            )
        self._model: Any = model.to(device).eval()
        super().__init__(
            source,
            dimension=model.config.projection_dim,
            preprocessing=_describe(self._processor),
            device=device,
        )

    def _embed_images(self, images: NDArray[np.uint8]) -> torch.Tensor:
        inputs = self._processor(
            list(images), input_data_format=ChannelDimension.LAST, device=self.device, return_tensors="pt"
        )
        return self._model.get_image_features(**inputs).pooler_output

    def _embed_texts(self, texts: list[str]) -> torch.Tensor:
        inputs = self._tokenizer(texts, padding=True, return_tensors="pt")
        longest = self._model.config.text_config.max_position_embeddings
        if inputs.input_ids.shape[1] > longest:
            raise self._refuse_long_text(longest)
        return self._model.get_text_features(**inputs.to(self.device)).pooler_output


def _describe(processor: Any) -> str:
    size, crop = processor.size, processor.crop_size
    resized = (
        f"the shorter side is resized to {size['shortest_edge']} pixels"
        if "shortest_edge" in size
        else f"the image is resized to {size['height']}×{size['width']} pixels"
    )
    return describe_preprocessing(
        resized,
        Resampling(processor.resample).name.lower(),
        (crop["height"], crop["width"]),
        processor.image_mean,
        processor.image_std,
    )
