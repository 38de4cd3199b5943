"""What generation takes of memory, worked out from the network's shape alone: what fits, and what a step reads.

It errs on the side of too much, where PyTorch's choice of a kernel decides. What it still misses shows as an error for
want of memory, and halves the batch.
"""

from typing import Any

MOST_ROWS = 256
"""Rows in the largest batch that is tried."""

MOST_IMAGES = 64
"""Images in the largest batch that is tried: a vision tower has enough to do with fewer."""

USABLE = 0.85
"""Share of the free memory that is planned with; the rest is for what lies between PyTorch's blocks."""

_FP32 = 4
_MLP, _NORMS = 3, 5
"""Tensors alive at once in a layer: of the width of its MLP, and of its hidden width (residual, normed and rescaled in
fp32, which in bf16 counts twice)."""


def rows_that_fit(
    config: Any, *, width: int, new_tokens: int, free_bytes: int, bytes_per_number: int, static: bool = False
) -> int:
    """Find how many rows may be generated at once: a power of two of at most `MOST_ROWS`.

    Args:
        config: `Gemma3Config` of the network.
        width: tokens of the longest prompt, image tokens included.
        new_tokens: limit on what is written, in tokens.
        free_bytes: memory beside the weights.
        bytes_per_number: of activations and cache, 2 in bf16 and 4 in fp32.
        static: whether the cache is made for the whole length at once.

    Returns:
        1 at least.
    """
    one = row_bytes(config, width=width, new_tokens=new_tokens, bytes_per_number=bytes_per_number, static=static)
    return _power_of_two((USABLE * free_bytes - _largest_weight(config, bytes_per_number)) / one, MOST_ROWS)


def images_that_fit(config: Any, *, free_bytes: int, bytes_per_number: int) -> int:
    """Find how many images may be encoded at once: a power of two of at most `MOST_IMAGES`, and 1 at least."""
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    alive = 2 * vision.intermediate_size + 6 * vision.hidden_size  # MLP; residual, normed, queries, keys, values, sum
    pixels = 3 * vision.image_size**2
    one = (patches * alive + pixels) * bytes_per_number + pixels * _FP32
    return _power_of_two(USABLE * free_bytes / one, MOST_IMAGES)


def row_bytes(config: Any, *, width: int, new_tokens: int, bytes_per_number: int, static: bool = False) -> int:
    """Work out what a row takes at its peak: in the pass over the prompt, or in the last step.

    For MedGemma 4B in fp32, a prompt of 600 tokens and 400 more: the cache is 2 (keys, values) · 4 heads · 256 · 34
    layers · 1,000 tokens · 4 bytes = 278,528,000 bytes. In the last step one layer's is there twice, and repeated for
    each of two groups of heads: 3 · 8,192,000. The pass over the prompt has a cache of 167,116,800 bytes and, for each
    of 600 tokens, 3 · 10,240 + 5 · 2,560 numbers in an MLP: 104,448,000, less than the last step. To either come two
    masks and a bias of 600² places, 2,160,000, the logits in 16 bytes a word, 4,195,328, and 256 image tokens, twice:
    5,242,880. Together 314,702,208 bytes: 64 rows would need 18.8 GiB.

    Args:
        config: `Gemma3Config` of the network.
        width: tokens of the prompt, with its padding.
        new_tokens: tokens that follow.
        bytes_per_number: of activations and cache.
        static: whether the cache has its whole length from the start.

    Returns:
        Bytes.
    """
    text = config.text_config
    total = width + new_tokens
    groups = text.num_attention_heads // text.num_key_value_heads
    layer = 2 * text.num_key_value_heads * text.head_dim * total * bytes_per_number
    last_step = cache_bytes(config, length=total, bytes_per_number=bytes_per_number) + (1 + groups) * layer
    prompt = cache_bytes(config, length=total if static else width, bytes_per_number=bytes_per_number)
    prompt += width * _activations(text, width) * bytes_per_number
    mask = width * width * (2 + bytes_per_number)
    logits = text.vocab_size * (bytes_per_number + 3 * _FP32)
    features = 2 * config.mm_tokens_per_image * text.hidden_size * bytes_per_number
    return max(last_step, prompt) + mask + logits + features


def cache_bytes(config: Any, *, length: int, bytes_per_number: int) -> int:
    """Count the keys and values of a row of some tokens; layers with a sliding window keep no more than that.

    Args:
        config: `Gemma3Config` of the network.
        length: tokens of the row.
        bytes_per_number: of the cache.

    Returns:
        Bytes.
    """
    text = config.text_config
    kept = sum(min(length, text.sliding_window) if kind == "sliding_attention" else length for kind in text.layer_types)
    return int(2 * text.num_key_value_heads * text.head_dim * kept * bytes_per_number)


def decode_bytes(config: Any, *, rows: int, length: int, weights_bytes: int, bytes_per_number: int) -> int:
    """Count what one decoding step has to read: the language model's weights once, and the cache of each row.

    That over the bandwidth of the card's memory is the least time that a step can take.

    Args:
        config: `Gemma3Config` of the network.
        rows: rows in the batch.
        length: tokens of each row in the cache, its padding included; of a static cache its whole length.
        weights_bytes: the language model's weights and output layer in memory, vision tower and projector left out.
        bytes_per_number: of the cache.

    Returns:
        Bytes.
    """
    return weights_bytes + rows * cache_bytes(config, length=length, bytes_per_number=bytes_per_number)


def _activations(text: Any, width: int) -> int:
    """Count the numbers that a token needs in the layer that is worked on: in its MLP or, if more, its attention.

    Attention is counted as if its scores were written out twice, which the fast kernels avoid.
    """
    heads = text.num_attention_heads
    attention = 3 * text.hidden_size + (6 * text.head_dim + 2 * width) * heads
    return int(max(_MLP * text.intermediate_size + _NORMS * text.hidden_size, attention))


def _largest_weight(config: Any, bytes_per_number: int) -> int:
    """Count the largest matrix of a layer, which is unpacked to be multiplied where it is quantized."""
    text = config.text_config
    return int(text.hidden_size * text.intermediate_size * bytes_per_number)


def _power_of_two(fits: float, most: int) -> int:
    size = most
    while size > 1 and size > fits:
        size //= 2
    return size
