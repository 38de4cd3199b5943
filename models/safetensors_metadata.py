"""Safetensors payloads: their tensors, and the string metadata in their header."""

import safetensors.torch
import torch

from models.bounded_json import parse_json
from models.bounds import SAFETENSORS_HEADER_BYTES
from models.errors import InputError
from models.text import printable

HEADER_LENGTH_BYTES = 8


def read_metadata(payload: bytes) -> dict[str, str]:
    """Read the metadata, which `safetensors.torch.load` leaves out and `safe_open` only reads from a file.

    Args:
        payload: safetensors bytes: the header's length as a little-endian 64-bit integer, the JSON header, the data.

    Returns:
        The entries under `__metadata__`; empty where there are none.

    Raises:
        InputError: the bytes have no such header.
    """
    require_short_header(payload[:HEADER_LENGTH_BYTES])
    length = int.from_bytes(payload[:HEADER_LENGTH_BYTES], "little")
    try:
        header = parse_json(payload[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + length])
        metadata = header.get("__metadata__", {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("metadata that are no text")
    except (ValueError, AttributeError) as error:
        raise InputError(
            "The weights are not a safetensors file (their header cannot be read); supply the file as it was saved."
        ) from error
    return dict(metadata)


def load_tensors(payload: bytes) -> dict[str, torch.Tensor]:
    """Read the tensors.

    Args:
        payload: safetensors bytes.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        InputError: the bytes are damaged.
    """
    require_short_header(payload[:HEADER_LENGTH_BYTES])
    try:
        return safetensors.torch.load(payload)
    except Exception as error:  # of safetensors, and of PyTorch over types and shapes that it does not have
        raise InputError(
            f"The weights are not an intact safetensors file ({printable(error)}); supply the file as it was saved."
        ) from error


def require_short_header(start: bytes) -> None:
    """Refuse a safetensors file that announces a header too long to be parsed in a moment.

    Args:
        start: its first `HEADER_LENGTH_BYTES` bytes.

    Raises:
        InputError: the header is longer than `SAFETENSORS_HEADER_BYTES`.
    """
    length = int.from_bytes(start, "little")
    if length > SAFETENSORS_HEADER_BYTES:
        raise InputError(
            f"The weights are not a safetensors file of this kind: it announces a header of {length} bytes, more than "
            f"{SAFETENSORS_HEADER_BYTES}; supply the file as it was saved."
        )
