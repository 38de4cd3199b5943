"""Algorithms of cuDNN that repeat, while anyone needs them."""

import contextlib
import threading
from collections.abc import Iterator

import torch

_guard = threading.Lock()
_switched = contextlib.ExitStack()
_users = 0


@contextlib.contextmanager
def repeatable_cudnn() -> Iterator[None]:
    """Have cuDNN take algorithms that repeat; only it would choose others.

    The flags are those of the process, and trainings run in threads side by side: the first that comes switches them,
    the last that goes puts them back.
    """
    global _users
    with _guard:
        if _users == 0:
            _switched.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True))
        _users += 1
    try:
        yield
    finally:
        with _guard:
            _users -= 1
            if _users == 0:
                _switched.close()
