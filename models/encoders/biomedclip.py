"""BiomedCLIP (Zhang et al., 2023): a vision transformer of timm and a BERT of Hugging Face, joined by open_clip."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.factory import load_state_dict
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from transformers import BertConfig

from models import hub
from models.encoders.image_text import ImageTextEncoder, describe_preprocessing
from models.encoders.source import EncoderSource, weights_file
from models.errors import InputError

_TEXT_TOWER = "text.transformer."
_HEAD_WIDTH = 64


class BiomedClipEncoder(ImageTextEncoder):
    """The projected features of both towers, with open_clip's own image transform and tokenizer.

    open_clip would ask the hub for the text tower's configuration and overwrite its weights afterwards. Everything
    here comes from the folder.

    Args:
        source: where the files came from.
        folder: the files.
        device: "cpu" or "cuda".

    Raises:
        InputError: the files are damaged or do not belong together.
    """

    def __init__(self, source: EncoderSource, folder: Path, device: str) -> None:
        config = hub.read_json(folder / "open_clip_config.json")
        try:
            weights = load_state_dict(str(weights_file(source.name, folder)))  # of a pickle, tensors only
            # An older transformers counted this range among the weights.
            weights.pop(f"{_TEXT_TOWER}embeddings.position_ids", None)
            model = _build(config["model_cfg"], bert_config(weights))
            self._tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        except Exception as error:  # damaged files raise many types, tokenizers even bare Exception
            raise InputError(
                f"The checkpoint of {source.name} in {folder} cannot be read ({type(error).__name__}); copy or "
                "download its files again."
            ) from error
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"The weights in {folder} do not fit its open_clip_config.json ({reason}); copy or download the "
                "checkpoint again."
            ) from error
        self._model: Any = model.to(device).eval()
        self._context_length = int(self._tokenizer.context_length)
        preprocess = PreprocessCfg(
            **merge_preprocess_dict({"size": model.visual.image_size}, config.get("preprocess_cfg", {}))
        )
        self._transform: Any = image_transform_v2(preprocess, is_train=False)
        super().__init__(
            source,
            dimension=config["model_cfg"]["embed_dim"],
            preprocessing=_describe(preprocess),
            device=device,
        )

    def _embed_images(self, images: NDArray[np.uint8]) -> torch.Tensor:
        pixels = torch.stack([self._transform(Image.fromarray(image)) for image in images])
        return self._model.encode_image(pixels.to(self.device))

    def _embed_texts(self, texts: list[str]) -> torch.Tensor:
        # The tokenizer cuts and pads to a length: one token more shows whether it would cut.
        tokens = self._tokenizer(texts, context_length=self._context_length + 1)
        used = tokens != self._tokenizer.tokenizer.pad_token_id
        if used[:, self._context_length].any():
            raise self._refuse_long_text(self._context_length)
        return self._model.encode_text(tokens[:, used.any(dim=0)].to(self.device))


def bert_config(weights: dict[str, torch.Tensor]) -> BertConfig:
    """Read the shape of the text tower off its weights, since BiomedCLIP's files do not hold its configuration.

    What the weights do not tell is as in every BERT (Devlin et al., 2019), BiomedBERT included: 64 numbers a head, GELU
    and the padding token 0.

    Args:
        weights: all weights of the model, by their names in open_clip.

    Returns:
        The configuration.
    """
    words = weights[f"{_TEXT_TOWER}embeddings.word_embeddings.weight"]
    layers = {name.split(".")[4] for name in weights if name.startswith(f"{_TEXT_TOWER}encoder.layer.")}
    return BertConfig(
        vocab_size=words.shape[0],
        hidden_size=words.shape[1],
        num_hidden_layers=len(layers),
        num_attention_heads=words.shape[1] // _HEAD_WIDTH,
        intermediate_size=weights[f"{_TEXT_TOWER}encoder.layer.0.intermediate.dense.weight"].shape[0],
        max_position_embeddings=weights[f"{_TEXT_TOWER}embeddings.position_embeddings.weight"].shape[0],
        type_vocab_size=weights[f"{_TEXT_TOWER}embeddings.token_type_embeddings.weight"].shape[0],
    )


def _build(config: dict[str, Any], text_tower: BertConfig) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        text_tower.save_pretrained(folder)
        return open_clip.CustomTextCLIP(
            config["embed_dim"],
            config["vision_cfg"] | {"timm_model_pretrained": False},
            config["text_cfg"] | {"hf_model_name": folder, "hf_model_pretrained": False},
        )


def _describe(preprocess: PreprocessCfg) -> str:
    height, width = (preprocess.size, preprocess.size) if isinstance(preprocess.size, int) else preprocess.size
    resized = {
        "shortest": f"the shorter side is resized to {min(height, width)} pixels",
        "longest": f"the longer side is resized to {max(height, width)} pixels",
        "squash": f"the image is resized to {height}×{width} pixels",
    }[preprocess.resize_mode]
    return describe_preprocessing(resized, preprocess.interpolation, (height, width), preprocess.mean, preprocess.std)
