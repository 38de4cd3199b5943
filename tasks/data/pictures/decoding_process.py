"""Decode pictures in a process of their own, within bounds.

Decoders are old libraries in C. A hostile or damaged file can make one crash, run for hours or fill the memory, and
what they and pydicom print on the way quotes the file. So a child process decodes: it gets the open file, answers with
a picture or with one sentence, and may fail without harm. Its output goes nowhere. One child serves all files of a
process, one after the other, and ends with it.
"""

import atexit
import contextlib
import json
import math
import os
import queue
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from models.bounds import FILE_BYTES, FILE_SECONDS
from models.errors import InputError
from tasks.data.pictures.picture_facts import Picture, PictureFacts

MAXIMUM_SECONDS = 60  # a file, where other programs keep the processors busy

_ROOT = Path(__file__).parents[3]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from tasks.data.pictures.decoding_process import serve; serve()"
_LENGTH = struct.Struct(">I")
_LONGEST_REQUEST = 1 << 12


class DecodingProcess:
    """A child process that decodes one file at a time. Threads may share it; it starts with the first file.

    Args:
        cpu_seconds: processor time for a file.
        seconds: time for a file.
        memory_bytes: memory for a file.
    """

    def __init__(
        self,
        cpu_seconds: int = FILE_SECONDS,
        seconds: float = MAXIMUM_SECONDS,
        memory_bytes: int = FILE_BYTES,
    ) -> None:
        self._cpu_seconds, self._seconds, self._memory_bytes = cpu_seconds, seconds, memory_bytes
        self._lock = threading.Lock()
        self._child: subprocess.Popen | None = None
        self._socket: socket.socket | None = None
        atexit.register(self.end)

    def decode(self, file: BinaryIO, name: str, *, colour: bool = False) -> Picture:
        """Decode a file.

        Args:
            file: open for reading, with a file descriptor.
            name: what a message calls it, printable.
            colour: whether its colours are wanted.

        Returns:
            Its grey levels or its colours, and what else is known of it.

        Raises:
            InputError: its content is no picture that can be read within the bounds.
            RuntimeError: the child does not start.
        """
        with self._lock:
            reused = self._socket is not None and self._child is not None and self._child.poll() is None
            try:
                answer = self._ask(file, name, colour)
                if reused and answer.get("fresh"):  # perhaps it failed of what earlier files left behind
                    answer = self._ask(file, name, colour)
            except BaseException:  # such as Ctrl-C: an answer that nobody reads would be taken for the next file's
                self._end()
                raise
        if "sentence" in answer:
            raise InputError(answer["sentence"])
        if "failed" in answer:
            raise InputError(
                f"{name} cannot be read ({answer['failed']}): a whole, undamaged image was expected; export or copy "
                "it again, or convert it to PNG."
            )
        return answer["picture"]

    def end(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            self._end()

    def _ask(self, file: BinaryIO, name: str, colour: bool) -> dict:
        file.seek(0)
        if self._socket is None or self._child is None or self._child.poll() is not None:
            self._begin()
        assert self._socket is not None
        deadline = time.monotonic() + self._seconds
        try:
            socket.send_fds(self._socket, [json.dumps({"name": name, "colour": colour}).encode()], [file.fileno()])
            answer = json.loads(self._receive(_LENGTH.unpack(self._receive(_LENGTH.size, deadline))[0], deadline))
            if "facts" in answer:
                facts = PictureFacts(**answer["facts"])
                shape = (facts.height, facts.width, 3) if colour else (facts.height, facts.width)
                levels = np.frombuffer(self._receive(math.prod(shape), deadline), np.uint8)
                return {"picture": Picture(levels.reshape(shape), facts)}
        except TimeoutError:
            self._end()
            return {"failed": f"it takes more than {self._seconds} s"}
        except (EOFError, ConnectionError):
            return self._cause_of_death()
        if "failed" in answer:
            self._end()
        return answer

    def _receive(self, size: int, deadline: float) -> bytearray:
        assert self._socket is not None
        content = bytearray(size)
        view = memoryview(content)
        while view:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            if not (received := self._socket.recv_into(view)):
                raise EOFError
            view = view[received:]
        return content

    def _begin(self) -> None:
        self._end()
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = (theirs.fileno(), self._cpu_seconds, self._memory_bytes)
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, str(_ROOT), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        self._socket = ours
        try:
            self._receive(1, time.monotonic() + MAXIMUM_SECONDS)
        except (EOFError, OSError) as error:
            self._end()
            raise RuntimeError("The process that decodes images does not start; its error stands above.") from error

    def _cause_of_death(self) -> dict:
        assert self._child is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=5)
        code = self._child.returncode
        self._end()
        if code == -signal.SIGXCPU:
            return {"failed": f"it takes more than {self._cpu_seconds} s of a processor"}
        return {"failed": "the decoder fails on it", "fresh": True}

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def forget(self) -> None:
        """Leave the child to the process that started it: after a fork."""
        self._lock = threading.Lock()
        if self._socket is not None:
            self._socket.close()
        self._child = self._socket = None


class DecodingProcesses:
    """Child processes that decode side by side. One after the other takes one; more start when several are asked for.

    Args:
        most: how many, at most.
    """

    def __init__(self, most: int) -> None:
        self._all = [DecodingProcess() for _ in range(most)]
        self._idle: queue.LifoQueue[DecodingProcess] = queue.LifoQueue()
        for process in self._all:
            self._idle.put(process)

    def decode(self, file: BinaryIO, name: str, *, colour: bool = False) -> Picture:
        """Decode a file, as `DecodingProcess.decode` does, once one of them is free."""
        process = self._idle.get()
        try:
            return process.decode(file, name, colour=colour)
        finally:
            self._idle.put(process)

    def forget(self) -> None:
        """Leave the children to the process that started them: after a fork."""
        self._idle = queue.LifoQueue()
        for process in self._all:
            process.forget()
            self._idle.put(process)


def serve() -> None:
    """Decode what the parent sends until it ends: the child's main program."""
    from tasks.data.pictures.picture_content import decode

    descriptor, cpu_seconds, memory_bytes = map(int, sys.argv[2:])
    connection = socket.socket(fileno=descriptor)
    with Path(os.devnull).open("w") as nowhere:  # only now: what fails to import is still shown
        os.dup2(nowhere.fileno(), 2)
    _bound_memory(memory_bytes)
    connection.sendall(b"+")
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, _LONGEST_REQUEST, 1)
        if not request:
            return
        _bound_processor_time(cpu_seconds)
        picture = None
        with os.fdopen(descriptors[0], "rb") as file:
            try:
                picture = decode(file, **json.loads(request))
                answer: dict = {"facts": asdict(picture.facts)}
            except InputError as error:
                answer = {"sentence": str(error)}
            except MemoryError:
                answer = {"failed": f"it takes more than {memory_bytes >> 20} MB of memory", "fresh": True}
        header = json.dumps(answer).encode()
        connection.sendall(_LENGTH.pack(len(header)) + header)
        if picture is not None:
            connection.sendall(np.ascontiguousarray(picture.levels).data)


def _bound_memory(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux; macOS has the limit and does not heed it
        return
    _set_limit(resource.RLIMIT_AS, pages * resource.getpagesize() + size)


def _bound_processor_time(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set_limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime) + seconds)


def _set_limit(kind: int, soft: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
