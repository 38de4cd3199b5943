"""A flow from the shell that meets bad luck at a given one of its acts, where one was ordered.

    python -m tests.soak.program flows.classification --preset debug

An act is a file of the products opened, made, renamed or removed, a connection or a process begun. Python tells of them
(audit hooks), in the same order for the same run however fast the machine is, so that what went wrong can be repeated.

| variable | |
|---|---|
| `SOAK_ACT` | number of the act at which it happens |
| `SOAK_LUCK` | what happens, a function of this module |
| `SOAK_COUNT` | file into which the number of acts is written at the end |
"""

import contextlib
import errno
import os
import runpy
import signal
import sys
import threading
from pathlib import Path

_EVENTS = {
    "open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.utime", "socket.connect",
    "subprocess.Popen", "sqlite3.connect",
}  # fmt: skip
_OUTPUTS = os.environ.get("OUTPUTS", "outputs")
_own = threading.local()


def kill(_event: str, _arguments: tuple[object, ...]) -> None:
    """Kill this process and no other."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_all(_event: str, _arguments: tuple[object, ...]) -> None:
    """Kill this process with all that it started, as a machine that loses its power does."""
    os.killpg(0, signal.SIGKILL)


def fill(_event: str, _arguments: tuple[object, ...]) -> None:
    """Leave no room on the disk of the products."""
    size = 1 << 20
    with Path(_OUTPUTS, "ballast").open("wb", buffering=0) as ballast:
        while size:
            try:
                ballast.write(bytes(size))
            except OSError:
                size //= 2


def refuse_reading(event: str, arguments: tuple[object, ...]) -> bool:
    """Let the first file of store or results that is read from now on be unreadable, once."""
    path = os.fspath(arguments[0]) if event == "open" else ""
    reads = event == "open" and not int(arguments[2]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    kept = isinstance(path, str) and path.startswith((f"{_OUTPUTS}/store/", f"{_OUTPUTS}/results/"))
    if reads and kept and os.path.isfile(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)
    return True


def vanish(_event: str, _arguments: tuple[object, ...]) -> None:
    """Let the store be gone, as a share that is lost."""
    with contextlib.suppress(FileNotFoundError):
        os.rename(f"{_OUTPUTS}/store", f"{_OUTPUTS}/store-away")
    Path(_OUTPUTS, "store").write_text("lost")


class _Acts:
    def __init__(self) -> None:
        self.count = 0
        self.at = int(os.environ.pop("SOAK_ACT", "0"))
        self.luck = globals().get(os.environ.pop("SOAK_LUCK", ""))
        self.told = os.environ.pop("SOAK_COUNT", None)

    def heed(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in _EVENTS or getattr(_own, "busy", False):
            return
        if event == "open" or event.startswith("os."):
            path = arguments[0]
            if not isinstance(path, str | bytes | os.PathLike) or not os.fsdecode(path).startswith(_OUTPUTS):
                return
        self.count += 1
        if self.luck is not None and self.count >= self.at:
            again, luck = False, self.luck
            _own.busy = True
            self.luck = None
            try:
                again = bool(luck(event, arguments))
            finally:
                _own.busy = False
            if again:
                self.luck = luck

    def tell(self) -> None:
        _own.busy = True
        if self.told:
            Path(self.told).write_text(str(self.count))
        _own.busy = False


def main() -> None:
    """Run the module that is named first, with the words behind it."""
    acts = _Acts()
    sys.argv = sys.argv[1:]
    sys.addaudithook(acts.heed)
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        acts.tell()


if __name__ == "__main__":
    main()
