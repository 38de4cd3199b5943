"""All that is used of transformers and bitsandbytes beyond what they document, each in a function of its own.

`tests/upstream/test_transformers_generation.py` has a contract test for each, so that an upgrade fails there first.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import BitsAndBytesConfig, Gemma3ForConditionalGeneration

_KEPT_WHOLE = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
"""Modules by their full names in `Gemma3ForConditionalGeneration`; `lm_head` is the embedding itself."""


def chat_inputs(processor: Any, image: Image.Image, text: str) -> Any:
    """Turn one image and one question into the network's inputs, as the processor's own template does."""
    content = [{"type": "image", "image": image.convert("RGB")}, {"type": "text", "text": text}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


def prompt_tokens(processor: Any, messages: Sequence[dict[str, Any]]) -> tuple[int, ...]:
    """Tokenise a conversation with the places of its images, whose pixels are not needed for that."""
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    text = text.replace(processor.boi_token, processor.full_image_sequence)
    return tuple(processor.tokenizer(text, add_special_tokens=False)["input_ids"])


def image_features(model: Any, processor: Any, images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Encode grey images as the language model takes them in.

    Args:
        model: the network.
        processor: its processor.
        images: each of shape (height, width), 0–255.

    Returns:
        Shape (images, tokens, width), on the network's device.
    """
    rgb = [np.repeat(image[:, :, None], 3, axis=2) for image in images]
    pixels = processor.image_processor(
        rgb, input_data_format="channels_last", do_pan_and_scan=False, return_tensors="pt"
    )["pixel_values"]
    encoded: torch.Tensor = model.get_image_features(pixels.to(model.device)).pooler_output
    return encoded


@contextmanager
def features_in_place(model: Any, image_token_id: int, features: torch.Tensor | None) -> Iterator[None]:
    """Let image features take the places of the image tokens' embeddings in the next pass through the network.

    Later passes may embed an image token that was written, and may be compiled: the hook is gone by then. `generate`
    takes features instead of pixels since transformers 5.23 only, and embeddings instead of tokens not at all for this
    class.

    Raises:
        RuntimeError: there was no pass.
    """
    if features is None:
        yield
        return
    waiting = [features]

    def insert(_: Any, arguments: tuple[torch.Tensor], embedded: torch.Tensor) -> torch.Tensor:
        hook.remove()
        places = arguments[0] == image_token_id
        return embedded.masked_scatter(places.unsqueeze(-1), waiting.pop().to(embedded.device, embedded.dtype))

    hook = model.get_input_embeddings().register_forward_hook(insert)
    try:
        yield
    finally:
        hook.remove()
    if waiting:
        raise RuntimeError("the model was run without its image features")


def load_network(folder: Path, dtype: torch.dtype, device: str, *, nf4: bool) -> tuple[Any, list[str]]:
    """Load the network of a checkpoint.

    Args:
        folder: its files.
        dtype: number format of activations and of what is not quantized.
        device: "cuda" or "cpu".
        nf4: whether the language model's linear layers are quantized, in NF4 with double quantization.

    Returns:
        The network, and the names of the tensors that are missing in the files or do not fit its configuration.

    Raises:
        RuntimeError: other layers were quantized: a name in `_KEPT_WHOLE` that matches nothing has no effect.
    """
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=_KEPT_WHOLE,
    )
    loaded: Any = Gemma3ForConditionalGeneration.from_pretrained(
        folder,
        dtype=dtype,
        device_map={"": device},
        attn_implementation="sdpa",
        quantization_config=quantization if nf4 else None,
        use_safetensors=True,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # they are refused by the caller, not in a traceback
        output_loading_info=True,
    )
    model, report = loaded
    unfit = [str(name) for name in (*report["missing_keys"], *report["mismatched_keys"], *report["error_msgs"])]
    if nf4 and not unfit and (wrong := quantized_layers(model) ^ set(language_linears(model))):
        raise RuntimeError(f"{len(wrong)} layers are not quantized as meant, such as {min(wrong)}")
    return model.eval(), unfit


def language_linears(model: Any) -> dict[str, torch.nn.Linear]:
    """Find the linear layers of the language model, by their full names."""
    modules = model.model.language_model.named_modules(prefix="model.language_model")
    return {name: module for name, module in modules if isinstance(module, torch.nn.Linear)}


def quantized_layers(model: Any) -> set[str]:
    """Name the layers that bitsandbytes holds in 4 bits."""
    from bitsandbytes.nn import Linear4bit

    return {name for name, module in model.named_modules() if isinstance(module, Linear4bit)}


def try_nf4(device: str) -> None:
    """Quantize a few weights, which raises errors of many types where bitsandbytes does not work on a device."""
    from bitsandbytes.functional import quantize_4bit

    quantize_4bit(torch.ones(64, 64, device=device), quant_type="nf4", compress_statistics=True)


def resident_bytes(model: Any) -> int:
    """Count what the weights take in memory, their scales included."""
    total = 0
    for weight in model.parameters():
        state = weight.quant_state.as_dict() if hasattr(weight, "quant_state") else {}
        total += weight.nbytes + sum(scale.nbytes for scale in state.values() if isinstance(scale, torch.Tensor))
    return total
