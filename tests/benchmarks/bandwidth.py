"""How fast memory is read: what a card claims, and what copying a block takes."""

import time

import torch

_KNOWN = {
    "H200": 4.8e12, "H100 80GB HBM3": 3.35e12, "H100 NVL": 3.9e12, "H100 PCIe": 2.0e12, "A100-SXM4-80GB": 2.04e12,
    "A100": 1.56e12, "L40S": 0.86e12, "L4": 0.30e12, "A10": 0.60e12, "T4": 0.32e12, "V100": 0.90e12,
}  # fmt: skip
"""Bytes a second by the makers' data sheets, by part of the card's name; the first that fits counts."""

_BLOCK = {"cuda": 2**30, "cpu": 2**26}


def claimed_bandwidth(device: str) -> float | None:
    """Return the bytes a second that a GPU's memory gives at best, by its clock and width; None for a CPU.

    Args:
        device: "cuda" or "cpu".
    """
    if device != "cuda":
        return None
    card = torch.cuda.get_device_properties(0)
    clock_khz, bits = getattr(card, "memory_clock_rate", 0), getattr(card, "memory_bus_width", 0)
    if clock_khz and bits:
        return float(2 * clock_khz * 1000 * bits / 8)  # twice a cycle
    return next((rate for part, rate in _KNOWN.items() if part in card.name), None)


def copied_bandwidth(device: str, times: int = 10) -> float:
    """Measure the bytes a second that are read and written while a block is copied.

    Args:
        device: "cuda" or "cpu".
        times: copies.
    """
    source = torch.zeros(_BLOCK[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)  # touches the pages
    _wait(device)
    started = time.perf_counter()
    for _ in range(times):
        target.copy_(source)
    _wait(device)
    return 2 * times * source.nbytes / (time.perf_counter() - started)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
