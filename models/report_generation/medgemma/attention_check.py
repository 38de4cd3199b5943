"""Which attention a loaded model computes rightly: a row must not notice that it is padded.

PyTorch's fused attention has had faults that raise no error: wrong values under a mask in some number formats, at some
widths (one more than a multiple of 32 was one) and on some GPUs. They would change texts silently, and only in batches.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.choices import WeightFormat
from models.errors import InputError
from models.report_generation.medgemma.gemma3 import features_in_place, image_features, prompt_tokens

logger = logging.getLogger(__name__)

Attention = Literal["sdpa", "sdpa without cuDNN", "eager"]
"""How attention is computed: PyTorch's fused kernels, those but for cuDNN's, or plain matrix products."""

LARGEST_GAPS: Mapping[WeightFormat, float] = {"fp32": 1e-3, "bf16": 0.1, "nf4": 0.1}
"""Difference between two rows of logits that rounding may make, see `padding_gap`, by number format of the weights.

Measured on a CPU: with random weights over seven widths at most 1.1e-6 in fp32 and .021 in bf16, with 34 layers as in
MedGemma 4B (.012 with three); with the weights of Gemma 3 270M 1.3e-6 and .022. Logits that have nothing in common are
1.4 apart. NF4 computes in bf16 where it can.
"""

_REMAINDERS = (1, 0, 2, 17)
"""Of the padded widths by 32: the one that is known for faults, its neighbours, and one between."""

_TEXT = "Describe this image."


def choose_attention(model: Any, processor: Any, precision: WeightFormat) -> Attention:
    """Take the fastest attention under which padding changes nothing.

    What is taken stays set: in the model and, where cuDNN's attention is to blame, for the whole process.

    Args:
        model: the network, which computes attention with PyTorch's fused kernels.
        processor: its processor.
        precision: number format of its weights.

    Returns:
        What was taken.

    Raises:
        InputError: padding changes the logits whatever is taken.
    """
    gaps: dict[Attention, float] = {}
    for attention in _attentions(model):
        gaps[attention] = padding_gap(model, processor)
        if gaps[attention] <= LARGEST_GAPS[precision]:
            if len(gaps) > 1:
                logger.warning(
                    "Padding changes the model's logits under %s; attention is computed by: %s.",
                    " and ".join(f"{name} (by {gap:.3g} of their spread)" for name, gap in list(gaps.items())[:-1]),
                    attention,
                )
            return attention
    raise InputError(
        f"Padding changes the model's logits by {min(gaps.values()):.2g} of their spread or more, whatever computes "
        f"attention ({', '.join(gaps)}): batches would be wrong; take another precision, PyTorch or GPU driver."
    )


def padding_gap(model: Any, processor: Any) -> float:
    """Measure how far padding moves the logits of a row with an image, those of its prompt and of one token more.

    The row is padded on its own, to the widths that follow its own with the remainders 1, 0, 2 and 17 by 32, and stands
    beside a longer row.

    Args:
        model: the network.
        processor: its processor.

    Returns:
        The largest root mean square of a difference over the spread of the logits; infinite where any is not finite.
    """
    short, long = (_asking(processor, text) for text in (_TEXT, " ".join([_TEXT] * 8)))
    picture = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    with torch.inference_mode():
        features = image_features(model, processor, [picture])
        run = _runner(model, processor, features)
        alone = run([short])
        padded = [run([short], width) for width in _widths(len(short))]
        beside = run([short, long])
    return max(_gap(each, alone) for each in (*padded, beside))


def _asking(processor: Any, text: str) -> tuple[int, ...]:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return prompt_tokens(processor, [{"role": "user", "content": content}])


def _attentions(model: Any) -> Iterator[Attention]:
    """Set one attention after the other."""
    with_cudnn = torch.backends.cuda.cudnn_sdp_enabled()
    if with_cudnn:
        yield "sdpa"
        torch.backends.cuda.enable_cudnn_sdp(False)
    yield "sdpa without cuDNN"
    torch.backends.cuda.enable_cudnn_sdp(with_cudnn)
    model.set_attn_implementation({"text_config": "eager"})  # images are not padded
    yield "eager"


def _widths(length: int) -> list[int]:
    return [next(width for width in range(length + 1, length + 33) if width % 32 == rest) for rest in _REMAINDERS]


def _runner(model: Any, processor: Any, features: torch.Tensor) -> Callable[..., NDArray[np.float32]]:
    image_token, padding = processor.tokenizer.image_token_id, processor.tokenizer.pad_token_id

    def run(lines: Sequence[Sequence[int]], width: int = 0) -> NDArray[np.float32]:
        """Return the first line's logits after its prompt and after one token more, shape (2, vocabulary)."""
        width = max(width, *map(len, lines))
        ids = torch.tensor([[padding] * (width - len(line)) + list(line) for line in lines], device=model.device)
        mask = torch.tensor([[0] * (width - len(line)) + [1] * len(line) for line in lines], device=model.device)
        with features_in_place(model, image_token, features.repeat(len(lines), 1, 1)):
            first = model(
                input_ids=ids,
                attention_mask=mask,
                token_type_ids=(ids == image_token).long(),
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
                logits_to_keep=1,
                use_cache=True,
            )
        second = model(
            input_ids=ids[:, -1:],
            attention_mask=torch.cat([mask, mask[:, -1:]], dim=1),
            position_ids=mask.sum(-1, keepdim=True),
            past_key_values=first.past_key_values,
            use_cache=True,
        )
        return torch.stack([out.logits[0, -1].float() for out in (first, second)]).cpu().numpy()

    return run


def _gap(logits: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    if not np.isfinite(logits).all():
        return float("inf")
    return float((np.std(logits - others, axis=1) / np.std(others, axis=1)).max())
