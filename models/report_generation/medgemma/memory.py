"""What generation takes of memory, worked out from the network's shape alone: what fits, and what a step reads."""

from typing import Any

MOST_ROWS = 256
"""Rows in the largest batch that is tried."""


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
    raise NotImplementedError


def decode_bytes(
    config: Any, *, rows: int, length: int, weights_bytes: int, bytes_per_number: int, static: bool = False
) -> int:
    """Count what one decoding step has to read: the language model's weights once, and the cache of each row.

    Args:
        config: `Gemma3Config` of the network.
        rows: rows in the batch.
        length: tokens of each row in the cache.
        weights_bytes: the language model's weights and output layer in memory, vision tower and projector left out.
        bytes_per_number: of the cache.
        static: whether the cache is read in its whole length; `length` is that then.

    Returns:
        Bytes.
    """
    raise NotImplementedError
