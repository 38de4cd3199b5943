"""Imports of different threads one after the other.

Steps import what they need when they run, and two of them run at once. Python locks each module for itself: where a
thread imports `matplotlib.ticker` while another one is within `matplotlib`, which imports it too, the two would wait
for each other, and Python lets one have a module that is not complete ("partially initialized module"). Almost every
large library is made like that: NumPy, PyTorch, Matplotlib, MLflow, pydicom.
"""

import builtins
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_MOST_SECONDS = 120.0  # an import that waits for another thread's import would never end; then it goes on as before

_alone = threading.RLock()


def import_one_at_a_time() -> None:
    """Let no thread of this process import while another one does; done once, and again without effect."""
    if getattr(builtins.__import__, "one_at_a_time", False):
        return
    builtins.__import__ = _one_at_a_time(builtins.__import__)


def _one_at_a_time(found: Callable[..., Any]) -> Callable[..., Any]:
    def import_module(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        held = _alone.acquire(timeout=_MOST_SECONDS)
        try:
            return found(name, globals, locals, fromlist, level)
        finally:
            if held:
                _alone.release()

    import_module.one_at_a_time = True  # type: ignore[attr-defined]
    return import_module
