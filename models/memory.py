"""How this process reuses freed memory."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next allocation, instead of returning it to the system.

    The activations of a batch are allocated and freed at every step of a training. By default glibc gives blocks of
    that size back to the system and asks for them again, page by page, more or less often by chance. Blocks from 1 GiB
    on are still given back.

    Nothing happens where the C library is another one: the setting is glibc's (mallopt(3)).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
