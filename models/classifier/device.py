"""Where a training computes, and in which number format."""

import torch

from models.choices import Device, Precision
from models.errors import InputError


def resolve_device(device: Device) -> torch.device:
    """Find the device to compute on.

    Args:
        device: "auto" takes CUDA where there is one.

    Returns:
        The device.

    Raises:
        InputError: CUDA is asked for and missing.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError('The device is "cuda", but PyTorch finds no CUDA device here; choose "auto" or "cpu".')
    return torch.device(device)


def computes_in_bf16(precision: Precision, device: torch.device) -> bool:
    """Decide whether to compute in bfloat16.

    Args:
        precision: "auto" takes bf16 on a GPU that computes in it without emulation, else fp32.
        device: where to compute.

    Returns:
        True for bfloat16, False for float32.
    """
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"
