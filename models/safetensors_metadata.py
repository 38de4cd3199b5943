"""The string metadata in the header of a safetensors payload."""

import json

from models.errors import InputError

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
    length = int.from_bytes(payload[:HEADER_LENGTH_BYTES], "little")
    try:
        header = json.loads(payload[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + length])
        metadata = header.get("__metadata__", {})
    except (ValueError, AttributeError) as error:
        raise InputError(
            "The weights are not a safetensors file (their header cannot be read); supply the file as it was saved."
        ) from error
    return metadata
