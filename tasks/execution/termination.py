"""Whether a signal asked this process to end, whatever became of the exception that it raised.

Prefect and Python answer SIGTERM and SIGINT by an exception in whatever code runs at that moment. Where that is Python
called by compiled code, the exception may be replaced (pydantic makes an error of its own of it) or dropped (within a
finaliser), and a run that was ended looks like one that failed, or goes on. So the signals are noted beside.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

from prefect.exceptions import TerminationSignal

_receiver: socket.socket | None = None
_arrived: set[int] = set()


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Note the signals that arrive within the block: the outermost one of the main thread. Others change nothing.

    Handlers stay what they are: Prefect cancels a run only while its own one is in place. What is used is the file
    descriptor to which Python writes the number of every signal; where an event loop has its own one there, it stays.
    """
    global _receiver
    if _receiver is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = socket.socketpair()
    with receiver, sender:
        receiver.setblocking(False)
        sender.setblocking(False)
        before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            yield
            return
        _receiver = receiver
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            _receiver = None
            _arrived.clear()


def asked_for() -> BaseException | None:
    """Return the exception that a signal since the beginning of `noted` stands for, or None where none came."""
    receiver = _receiver
    with contextlib.suppress(OSError):  # there are no more, or the block has just ended
        while receiver is not None:
            _arrived.update(receiver.recv(4096))
    if signal.SIGTERM in _arrived:
        return TerminationSignal(signal.SIGTERM)
    return KeyboardInterrupt() if signal.SIGINT in _arrived else None


def end_if_asked() -> None:
    """Raise what a signal stands for, where its own exception was lost and the work goes on.

    Raises:
        TerminationSignal: SIGTERM came.
        KeyboardInterrupt: SIGINT came.
    """
    ended = asked_for()
    if ended is not None:
        raise ended


def _forget() -> None:
    """In a fork: it shares the descriptor, and its signals are not those of its parent."""
    global _receiver
    if _receiver is not None:
        signal.set_wakeup_fd(-1)
        _receiver = None


os.register_at_fork(after_in_child=_forget)
