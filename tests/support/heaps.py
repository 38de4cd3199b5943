"""Heaps that glibc gives to threads."""

import itertools
from pathlib import Path

HEAP_BYTES = 64 << 20  # of glibc's HEAP_MAX_SIZE, the default of 64 bits


def thread_heaps(process: int | str = "self") -> int:
    """Count the heaps of a process beside its first one.

    Such a heap is a mapping of 64 MiB that begins at a multiple of as much: what is in use before what is not.

    Args:
        process: its number.
    """
    mappings = []
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        addresses, access = line.split()[:2]
        start, end = (int(address, 16) for address in addresses.split("-"))
        mappings.append((start, end, access))
    return sum(
        used == "rw-p" and unused == "---p" and start % HEAP_BYTES == 0 and end == next_start
        and next_end == start + HEAP_BYTES
        for (start, end, used), (next_start, next_end, unused) in itertools.pairwise(mappings)
    )  # fmt: skip
