"""Deterministic algorithms of cuDNN, while anyone needs them."""

import contextlib
import threading
from collections.abc import Iterator

import torch

_guard = threading.Lock()
_switched = contextlib.ExitStack()
_users = 0


@contextlib.contextmanager
def repeatable_cudnn() -> Iterator[None]:
    """Make cuDNN use deterministic algorithms; no other library would choose others.

    The flags belong to the process, and trainings run in threads side by side: the first that enters sets them, the
    last that leaves restores them.
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
