"""The adapter of open_clip: its `CustomTextCLIP` of a vision transformer of timm and a BERT of transformers.

What of it is not documented is checked in `tests/upstream/test_open_clip.py`.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.encoders.checkpoint import Layout
from models.encoders.published import PublishedEncoder
from models.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import BertConfig

_TEXT_TOWER = "text.transformer."
_HEAD_WIDTH = 64


def _fits(config: dict[str, Any]) -> bool:
    model = config.get("model_cfg")
    return isinstance(model, dict) and all(
        isinstance(model.get(tower), dict) and name in model[tower]
        for tower, name in (("vision_cfg", "timm_model_name"), ("text_cfg", "hf_model_name"))
    )


class OpenClipCustomText(PublishedEncoder):
    """The projected features of both towers, with open_clip's own image transform and tokenizer.

    open_clip would ask the hub for the text tower's configuration and overwrite its weights afterwards. Everything
    here comes from the folder.
    """

    layout = Layout(
        title="an open_clip model",
        config="open_clip_config.json",
        fits=_fits,
        others=(("tokenizer.json",), ("tokenizer_config.json",)),
        safetensors="open_clip_model.safetensors",
        pickle="open_clip_pytorch_model.bin",
    )

    def _load(self, folder: Path) -> Any:
        import open_clip
        from open_clip.factory import load_state_dict
        from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

        from models import hub

        config = hub.read_json(folder / self.layout.config)
        weights = load_state_dict(str(self.layout.weights(folder)))  # of a pickle, tensors only
        # An older transformers counted this range among the weights.
        weights.pop(f"{_TEXT_TOWER}embeddings.position_ids", None)
        model = _build(config["model_cfg"], bert_config(weights))
        self._tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"The weights in {folder} do not fit its open_clip_config.json ({reason}); copy or download the "
                "checkpoint again."
            ) from error
        self._context_length = int(self._tokenizer.context_length)
        preprocess = merge_preprocess_dict({"size": model.visual.image_size}, config.get("preprocess_cfg", {}))
        self._transform: Any = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
        self.dimension = config["model_cfg"]["embed_dim"]
        return model

    def patch_layer(self) -> "tuple[nn.Module, int] | None":
        """Return the last layer before the class token looks at the patches, of a vision transformer."""
        trunk = self._model.visual.trunk
        blocks = getattr(trunk, "blocks", None)
        return (
            None if blocks is None or not hasattr(blocks[-1], "norm1") else (blocks[-1].norm1, trunk.num_prefix_tokens)
        )

    def _embed_images(self, images: NDArray[np.uint8]) -> "torch.Tensor":
        import torch
        from PIL import Image

        pixels = torch.stack([self._transform(Image.fromarray(image)) for image in images])
        return self._model.encode_image(pixels.to(self.device))

    def _embed_texts(self, texts: list[str]) -> "torch.Tensor":
        # The tokenizer cuts and pads to a length: one token more shows whether it would cut.
        tokens = self._tokenizer(texts, context_length=self._context_length + 1)
        used = tokens != self._tokenizer.tokenizer.pad_token_id
        self._require_length(not used[:, self._context_length].any(), self._context_length)
        return self._model.encode_text(tokens[:, used.any(dim=0)].to(self.device))


def bert_config(weights: "dict[str, torch.Tensor]") -> "BertConfig":
    """Read the shape of the text tower off its weights, since BiomedCLIP's files do not hold its configuration.

    What the weights do not tell is as in every BERT (Devlin et al., 2019), BiomedBERT included: attention heads of
    width 64, GELU and the padding token 0.

    Args:
        weights: all weights of the model, by their names in open_clip.

    Returns:
        The configuration.
    """
    from transformers import BertConfig

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


def _build(config: dict[str, Any], text_tower: "BertConfig") -> Any:
    import open_clip

    with tempfile.TemporaryDirectory() as folder:
        text_tower.save_pretrained(folder)
        return open_clip.CustomTextCLIP(
            config["embed_dim"],
            config["vision_cfg"] | {"timm_model_pretrained": False},
            config["text_cfg"] | {"hf_model_name": folder, "hf_model_pretrained": False},
        )
