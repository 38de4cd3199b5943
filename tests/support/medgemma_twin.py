"""Checkpoints of MedGemma's own classes with random weights, for tests and benchmarks without the gated weights.

Such a checkpoint carries a mark in its configuration, by which whatever shows its output says that it means nothing.
"""

import itertools
import json
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from models.report_generation.medgemma.source import RANDOM_WEIGHTS_MARK

Shape = Literal["small", "4b"]

_SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>")
_END_OF_TURN = 106  # as in Gemma 3, where generation stops at 1 and at 106
_MARKERS = {105: "<start_of_turn>", _END_OF_TURN: "<end_of_turn>"}
_MARKERS |= {107: "<start_of_image>", 108: "<end_of_image>", 109: "<image_soft_token>"}  # 255999 and on in Gemma 3

_TEXT: dict[Shape, dict[str, int]] = {
    "small": {
        "vocab_size": 2048, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 64,
        "sliding_window_pattern": 3, "max_position_embeddings": 8192,
    },
    "4b": {
        "vocab_size": 262208, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 1024,
        "sliding_window_pattern": 6, "max_position_embeddings": 131072,
    },
}  # fmt: skip
_VISION: dict[Shape, dict[str, int]] = {
    "small": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 56, "patch_size": 14,
    },
    "4b": {
        "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
        "image_size": 896, "patch_size": 14,
    },
}  # fmt: skip
_IMAGE_TOKENS: dict[Shape, int] = {"small": 4, "4b": 256}
_TOKENS: dict[Shape, int] = {"small": 2047, "4b": 262145}  # Gemma 3 has 63 rows more than tokens

_WORDS = """
Yes No findings name presence detail present absent uncertain not assessable impression differential label normal
pneumonia undetermined certainty low moderate high image_quality adequate limited limitations the chest radiograph of a
child shows no clear opacity consolidation in right left lower lobe lung heart size is pleural effusion seen small large
may be possible with and small picture cannot judged
"""
"""What the tokenizer knows: the fields of a structured report, and words of one."""

CHAT_TEMPLATE = """{{ bos_token }}
{%- set system = messages[0]['role'] == 'system' -%}
{%- for message in (messages[1:] if system else messages) -%}
{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}
{%- if loop.first and system %}{{ messages[0]['content'][0]['text'] + '\n\n' }}{% endif -%}
{%- for part in message['content'] -%}
{{ '<start_of_image>' if part['type'] == 'image' else part['text'] | trim }}
{%- endfor -%}
{{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif -%}
"""
"""The turns of Gemma 3's own template: a system message is put before the first turn's text."""


def write_checkpoint(
    folder: Path,
    shape: Shape = "small",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Path:
    """Write a checkpoint that `AutoModelForImageTextToText` and `AutoProcessor` load as they load MedGemma.

    Args:
        folder: where to; made if need be.
        shape: "small" (about 0.3 million parameters, 56×56 pixels, 4 image tokens), or "4b", MedGemma 4B's own shape
            (4,300,079,472 parameters, 896×896 pixels, 256 image tokens, 262,145 tokens).
        seed: seed of the weights.
        dtype: number format of the weights on disk.
        device: where to make the weights, as in `build_model`.

    Returns:
        The folder.
    """
    build_model(shape, seed=seed, dtype=dtype, device=device).save_pretrained(folder)
    side = _VISION[shape]["image_size"]
    image_processor = Gemma3ImageProcessor(
        size={"height": side, "width": side}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    Gemma3Processor(
        image_processor, _tokenizer(_TOKENS[shape]), chat_template=CHAT_TEMPLATE, image_seq_length=_IMAGE_TOKENS[shape]
    ).save_pretrained(folder)
    return folder


def build_model(
    shape: Shape = "small", *, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Gemma3ForConditionalGeneration:
    """Make the network with random weights.

    Args:
        shape: as in `write_checkpoint`.
        seed: seed of the weights.
        dtype: number format of the weights.
        device: where to make them; the large shape is made in seconds on a GPU.

    Returns:
        The network, ready to generate. Its projector is random too: transformers initialises it to zeros, with which
        the network would ignore its image. So is its last scale: with embeddings that are input and output at once, an
        even one would make an untrained network repeat its last token for ever.
    """
    config = config_of(shape)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.random.fork_rng(), torch.device(device):
            torch.manual_seed(seed)
            model = Gemma3ForConditionalGeneration(config)
            projection: Any = model.model.multi_modal_projector.mm_input_projection_weight
            torch.nn.init.normal_(projection, std=_VISION[shape]["hidden_size"] ** -0.5)
            scale: Any = model.model.language_model.norm.weight  # of which Gemma takes one more
            torch.nn.init.normal_(scale, mean=-1.0)
    finally:
        torch.set_default_dtype(before)
    model.generation_config = GenerationConfig(
        bos_token_id=2, eos_token_id=[1, _END_OF_TURN], pad_token_id=0, do_sample=True, top_k=64, top_p=0.95
    )  # MedGemma's own, which samples
    return model.eval()


def config_of(shape: Shape) -> Gemma3Config:
    """Return the configuration of a shape, without making its weights."""
    further: dict[str, Any] = {"eos_token_id": [1, _END_OF_TURN], RANDOM_WEIGHTS_MARK: True}
    return Gemma3Config(
        text_config=_TEXT[shape] | {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0},
        vision_config=_VISION[shape] | {"vision_use_head": False},
        mm_tokens_per_image=_IMAGE_TOKENS[shape],
        boi_token_index=107,
        eoi_token_index=108,
        image_token_index=109,
        **further,
    )


def _tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Make a byte-level tokenizer with the ids of Gemma 3's padding, ends and turns.

    Beyond the few merges that it learns it is filled with phrases that no text is split into, about as long as real
    tokens and longer: whatever a random network writes can be read, a constrained report ends before its limit, and a
    grammar has as many tokens to mask as MedGemma's.
    """
    special = [_MARKERS.get(i, f"<unused{i}>") for i in range(110)]
    special[: len(_SPECIAL_TOKENS)] = _SPECIAL_TOKENS
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=special, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    tokenizer.train_from_iterator([_WORDS] * 10, trainer)
    state = json.loads(tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    words = dict.fromkeys(word for word in _WORDS.split() if word.isalpha())
    phrases = itertools.chain.from_iterable(itertools.product(words, repeat=length) for length in itertools.count(1))
    while len(vocabulary) < size:
        vocabulary.setdefault("".join(f"Ġ{word}" for word in next(phrases)), len(vocabulary))
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>",
        padding_side="left",
        extra_special_tokens={
            "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>",
        },
    )  # fmt: skip
