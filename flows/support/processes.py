"""An executor that runs each call in a process of its own: what fails or is killed there ends nothing else."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

# Children are forked from a server that has imported what takes seconds, and has no threads that a fork would lose.
_CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = (
    "flows.classification", "models.classifier.training", "matplotlib.figure", "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
)  # fmt: skip


class ProcessPerCall(concurrent.futures.ThreadPoolExecutor):
    """Runs calls in child processes, some at once. Left by an error, it ends them by SIGTERM and waits for their end.

    Args:
        at_once: most processes at a time.
        patience: seconds from the death of this process in which a child may end by SIGTERM, before it is killed; 0
            kills it at once.
    """

    def __init__(self, at_once: int, patience: float) -> None:
        super().__init__(at_once)
        self._patience = patience
        _CONTEXT.set_forkserver_preload(list(PRELOADED))
        self._lock, self._closed = threading.Lock(), False
        self._children: set[Any] = set()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> concurrent.futures.Future[Any]:  # type: ignore[override]
        """Run a function in a process of its own.

        Args:
            function: what the child can import, or what cloudpickle can send.
            arguments: its arguments. The result is pickled.

        Returns:
            Its result; or a RuntimeError where the process ends without one, as after an exception.
        """
        return super().submit(self._run, cloudpickle.dumps((function, arguments)))

    def __exit__(self, kind: type[BaseException] | None, *about: Any) -> None:
        """Wait for the children; after an error end them first."""
        if kind is not None:
            with self._lock:
                self._closed = True
                for child in self._children:
                    child.terminate()
        self.shutdown(cancel_futures=kind is not None)

    def _run(self, call: bytes) -> Any:
        receiver, sender = _CONTEXT.Pipe(duplex=False)
        child = _CONTEXT.Process(target=_serve, args=(sender, call, dict(os.environ), sys.path, self._patience))
        with self._lock:
            if self._closed:
                raise concurrent.futures.CancelledError
            child.start()
            self._children.add(child)
        sender.close()
        try:
            with contextlib.suppress(EOFError):  # it ended without an answer
                return receiver.recv()
        finally:
            child.join()
            with self._lock:
                self._children.discard(child)
        raise RuntimeError(f"the process ended with the exit code {child.exitcode}")


def _serve(
    sender: Connection, call: bytes, environment: Mapping[str, str], path: Sequence[str], patience: float
) -> None:
    """Answer one call. Runs in the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    threading.Thread(target=_end_with_parent, args=(patience,), daemon=True).start()
    os.environ.clear()  # that of the server is as old as the first call
    os.environ.update(environment)
    sys.path[:] = path
    function, arguments = pickle.loads(call)  # noqa: S301 - the parent wrote it
    sender.send(function(*arguments))


def _end_with_parent(patience: float) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if patience:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(patience)
        os.kill(os.getpid(), signal.SIGKILL)
