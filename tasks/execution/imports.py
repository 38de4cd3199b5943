"""What steps import when they run is imported by one of them after the other.

Two steps run at once, and each imports what it needs then. Python locks each module for itself: where a thread imports
`matplotlib.ticker` first of all while another one is within `matplotlib`, which imports it too, the two wait for each
other, and Python lets one have a module that is not complete ("partially initialized module"). Almost every large
library can be met like that.

The lock is taken by steps only. Were it taken by every import of the process, a thread that holds it could wait for the
lock of a module whose thread waits for this one.
"""

import contextlib
import functools
import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tasks.execution.fingerprint import fingerprint, imported

_AHEAD = ("matplotlib",)
"""Libraries that are imported as a whole before a step that reaches them, since modules import parts of them first."""

_alone = threading.RLock()


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Import while no step does."""
    with _alone:
        yield


def load(function: Callable[..., Any]) -> None:
    """Import what the body of a step imports, and wait for other steps that do the same.

    Args:
        function: the step's function.
    """
    with one_at_a_time():
        for name in _names(function):
            importlib.import_module(name)


@functools.cache
def _names(function: Callable[..., Any]) -> tuple[str, ...]:
    libraries = fingerprint(function).libraries
    return (*(name for name in _AHEAD if name in libraries), *imported(function))
