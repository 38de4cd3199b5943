"""MedGemma in memory: which number format on which device, whether it fits, loaded once a process, and probed."""

import gc
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor, GenerationConfig

from models.choices import WeightFormat
from models.errors import InputError
from models.report_generation.medgemma.attention_check import Attention, choose_attention
from models.report_generation.medgemma.constrained import Vocabulary
from models.report_generation.medgemma.gemma3 import (
    chat_inputs,
    language_linears,
    load_network,
    resident_bytes,
    try_nf4,
)
from models.report_generation.medgemma.source import Source, fetch, resolve_source

__all__ = [
    "LoadedModel", "Precision", "Source", "choose_device", "choose_precision", "compute_dtype", "load_model",
    "load_vocabulary", "loaded_model", "require_memory", "resolve_source", "weights_gib",
]  # fmt: skip

Precision = WeightFormat
"""Number format of the weights. Under `nf4` only the language model's linear layers are 4-bit, see `weights_gib`."""

GIB = 2**30
END_OF_TURN = "<end_of_turn>"
HEADROOM_GIB = 1.0
"""GPU memory beside the weights that one short prompt takes, CUDA's workspaces included."""

_NF4_BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight in NF4 with double quantization: half a byte, an 8-bit scale for 64 weights and a 32-bit scale for 256
of those (Dettmers et al., QLoRA, 2023, section 3)."""


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint in memory, ready to generate.

    Attributes:
        model: the network, in evaluation mode.
        processor: its tokenizer, which pads on the left, and image processor.
        device: "cuda" or "cpu".
        precision: number format of the weights.
        source: where they came from.
        stop_tokens: ids of the tokens that end a text, ascending.
        weights_gib: what the weights take on the device, in GiB.
        attention: how attention is computed, by what was found right on this device.
    """

    model: Any = field(repr=False)
    processor: Any = field(repr=False)
    device: str
    precision: Precision
    source: Source
    stop_tokens: tuple[int, ...]
    weights_gib: float
    attention: Attention = "sdpa"


def choose_device(wanted: Literal["cuda", "cpu"]) -> str:
    """Return the device, once it is there.

    Raises:
        InputError: a GPU is wanted where PyTorch sees none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "There is no GPU that PyTorch can use on this machine; run the reports on a worker of the `gpu` pool, take "
            "the device cpu for a small checkpoint, or the generator template, which needs no language model."
        )
    return wanted


def choose_precision(wanted: Literal["auto", "nf4", "bf16", "fp32"], device: str) -> Precision:
    """Settle the number format of the weights.

    Args:
        wanted: a format, or "auto": NF4 on a GPU, fp32 on a CPU.
        device: "cuda" or "cpu".

    Raises:
        InputError: bf16 is wanted on a GPU that only emulates it.
    """
    if wanted == "auto":
        return "nf4" if device == "cuda" else "fp32"
    if wanted == "bf16" and device == "cuda" and not _has_bf16():
        raise InputError(
            f"The GPU ({torch.cuda.get_device_name()}) has no bf16 arithmetic, which needs compute capability 8; take "
            "the precision nf4, which computes in fp32 there."
        )
    return wanted


def compute_dtype(precision: Precision, device: str) -> torch.dtype:
    """Return the number format of activations and of unquantized weights.

    Under NF4 that is bf16 on a GPU that has it, else fp32. Never fp16: Gemma 3's activations overflow it, and its
    reports are empty then without an error.
    """
    if precision == "nf4":
        return torch.bfloat16 if device == "cuda" and _has_bf16() else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def weights_gib(config: Gemma3Config, precision: Precision, rest: torch.dtype = torch.bfloat16) -> float:
    """Work out what the weights take in memory, from their number alone.

    Under NF4 the linear layers of the language model are quantized; vision tower, projector, norms and the embedding,
    which is the output layer too, are not.

    Args:
        config: shape of the network.
        precision: number format.
        rest: under NF4, the format of what is not quantized.

    Returns:
        GiB.
    """
    with torch.device("meta"):
        model = Gemma3ForConditionalGeneration(config)
    total = sum(parameter.numel() for parameter in model.parameters())
    if precision != "nf4":
        return total * (2 if precision == "bf16" else 4) / GIB
    quantized = sum(module.weight.numel() for module in language_linears(model).values())
    return (quantized * _NF4_BYTES + (total - quantized) * rest.itemsize) / GIB


def require_memory(weights: float, free: float, precision: Precision) -> None:
    """Refuse weights that leave no room on the GPU.

    Args:
        weights: what they take, in GiB.
        free: what the GPU has, in GiB.
        precision: their number format.

    Raises:
        InputError: weights and `HEADROOM_GIB` are more than is free.
    """
    if weights + HEADROOM_GIB > free:
        raise InputError(
            f"The GPU has {free:.1f} GiB of free memory and the weights in {precision} need {weights:.1f} GiB and "
            f"{HEADROOM_GIB:.0f} GiB to work in; {_way_out(precision)}."
        )


def load_model(source: Source, precision: Precision, device: str, token: str | None) -> LoadedModel:
    """Load a checkpoint and see that it works: quantized as meant, its logits finite and the same under padding.

    Args:
        source: what `resolve_source` gave; a hub model is downloaded at that commit.
        precision: number format of the weights.
        device: "cuda" or "cpu".
        token: access token of the hub, or None for the one of `HF_TOKEN` or of `hf auth login`.

    Returns:
        The model, its processor and its stop tokens.

    Raises:
        InputError: the files cannot be had or are damaged, bitsandbytes does not work, the memory is too small, or the
            logits are not finite or change under padding.
    """
    folder = fetch(source, token)
    config, processor = _load_processor(folder)
    if device == "cuda":
        needed = weights_gib(config, precision, compute_dtype(precision, device))
        require_memory(needed, torch.cuda.mem_get_info()[0] / GIB, precision)
    if precision == "nf4":
        _require_bitsandbytes(device)
    try:
        model = _load_network(folder, precision, device)
        _probe(model, processor, precision)
        attention = choose_attention(model, processor, precision)
    except torch.OutOfMemoryError:
        pass  # the sentence is raised outside, where nothing holds what was loaded so far
    else:
        stop_tokens = _stop_tokens(model.generation_config, processor)
        weights = resident_bytes(model) / GIB
        return LoadedModel(model, processor, device, precision, source, stop_tokens, weights, attention)
    _release_memory()
    raise InputError(f"The GPU's memory ran out while {source.model} was loaded in {precision}; {_way_out(precision)}.")


def load_vocabulary(source: Source, token: str | None) -> Vocabulary:
    """Read what a checkpoint can write, once a process, without its weights or a GPU.

    Args:
        source: as in `load_model`; all files of a hub model are downloaded here already.
        token: as there.

    Returns:
        The vocabulary, equal to the one of the model that `load_model` gives.

    Raises:
        InputError: the files cannot be had or are damaged.
    """
    folder = fetch(source, token)
    return _vocabulary(source, folder)


@lru_cache(maxsize=2)
def _vocabulary(source: Source, folder: Path) -> Vocabulary:
    config, processor = _load_processor(folder)
    try:
        generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:  # without generation_config.json the network makes its own
        generation = GenerationConfig.from_model_config(config)
    text: Any = config.text_config
    return Vocabulary(source, text.vocab_size, _stop_tokens(generation, processor), lambda: processor.tokenizer)


_lock = threading.Lock()
_current: tuple[tuple[Source, Precision, str], LoadedModel] | None = None


def loaded_model(source: Source, precision: Precision, device: str, token: str | None) -> LoadedModel:
    """Load a checkpoint once a process, as `load_model` does; another one takes its place.

    The same arguments give the same object; threads that ask at once wait for one loading.

    Args:
        source: as in `load_model`.
        precision: as there.
        device: as there.
        token: as there.

    Returns:
        The model.

    Raises:
        InputError: as there.
    """
    global _current
    key = (source, precision, device)
    with _lock:
        if _current is None or _current[0] != key:
            _current = None
            _release_memory()
            _current = (key, load_model(source, precision, device, token))
        return _current[1]


def _has_bf16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _way_out(precision: Precision) -> str:
    smaller = "" if precision == "nf4" else "take the precision nf4, "
    return f"{smaller}end what else uses the GPU, or take a larger one"


def _release_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _require_bitsandbytes(device: str) -> None:
    try:
        try_nf4(device)
    except Exception as error:  # what a library built for another CUDA raises is of many types
        raise InputError(
            f"The precision nf4 needs the package bitsandbytes, which is missing or does not work on the device "
            f"{device} ({type(error).__name__}); install the version of requirements.txt, or take another precision."
        ) from error


def _load_processor(folder: Path) -> tuple[Gemma3Config, Any]:
    try:
        config: Any = Gemma3Config.from_pretrained(folder, local_files_only=True)
        processor: Any = Gemma3Processor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exception
        raise InputError(
            f"The configuration, processor or tokenizer in {folder} cannot be read ({type(error).__name__}); copy or "
            "download its files again."
        ) from error
    side, tokens = config.vision_config.image_size, config.mm_tokens_per_image
    size = processor.image_processor.size
    if (size["height"], size["width"], processor.image_seq_length) != (side, side, tokens):
        raise InputError(
            f"The processor in {folder} makes images of {size['height']}×{size['width']} pixels and "
            f"{processor.image_seq_length} tokens, the network expects {side}×{side} and {tokens}; supply the "
            "processor's files that belong to the model."
        )
    if processor.chat_template is None and processor.tokenizer.chat_template is not None:
        processor.chat_template = processor.tokenizer.get_chat_template()  # of several the default one
    if processor.chat_template is None or END_OF_TURN not in processor.tokenizer.get_vocab():
        raise InputError(
            f"The checkpoint in {folder} has no chat template or no token {END_OF_TURN}; choose an instruction-tuned "
            "model (its id ends in -it)."
        )
    processor.tokenizer.padding_side = "left"  # a batch generates from its last column
    processor.image_processor.do_pan_and_scan = False
    return config, processor


def _load_network(folder: Path, precision: Precision, device: str) -> Any:
    model, unfit = load_network(folder, compute_dtype(precision, device), device, nf4=precision == "nf4")
    if unfit:
        raise InputError(
            f"The weights in {folder} do not fit its config.json ({len(unfit)} tensors are missing or of another "
            f"shape, such as {unfit[0]}); copy or download the checkpoint again."
        )
    return model


def _probe(model: Any, processor: Any, precision: Precision) -> None:
    inputs = chat_inputs(processor, Image.new("RGB", (32, 32), "grey"), "Describe this image.").to(model.device)
    with torch.inference_mode():
        logits = model(**inputs, logits_to_keep=1).logits
    if not torch.isfinite(logits).all():
        others = [other for other in ("nf4", "bf16", "fp32") if other != precision]
        raise InputError(
            f"The model's logits are not finite in {precision}, so it would write nothing; choose another precision "
            f"({' or '.join(others)}), and if that does not help, copy or download the weights again."
        )


def _stop_tokens(generation: GenerationConfig, processor: Any) -> tuple[int, ...]:
    ends: Any = generation.eos_token_id
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    return tuple(sorted({*ends, processor.tokenizer.convert_tokens_to_ids(END_OF_TURN)}))
