"""How this process reuses freed memory, by settings of glibc (mallopt(3)); other C libraries are left as they are."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next allocation, instead of returning it to the system.

    The activations of a batch are allocated and freed at every step of a training. By default glibc gives blocks of
    that size back to the system and asks for them again, page by page, more or less often by chance. Blocks from 1 GiB
    on are still given back.
    """
    _set(M_MMAP_THRESHOLD, KEPT_BYTES)
    _set(M_TRIM_THRESHOLD, KEPT_BYTES)


def share_one_heap() -> None:
    """Make all threads of this process allocate from one heap, for a service that lives for months.

    By default glibc gives threads heaps of their own, up to eight a core. What one thread frees no other takes, so that
    a server whose requests wander over a pool of threads keeps the largest need of each. Threads that allocate all the
    time wait for one another: this is not for computing.

    Call it before threads are started: a heap that is there stays.
    """
    _set(M_ARENA_MAX, 1)


def _set(option: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(option, value)
