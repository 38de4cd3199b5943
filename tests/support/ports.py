"""Ports for servers that tests start."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import TextIO

_FIRST, _LAST = 20_000, 32_000
"""Beneath those that Linux gives to connections, from 32,768 on: one of them could take what a server is to have."""
_held: list[TextIO] = []


def free_port() -> int:
    """Find a port on which nothing listens, and which no other test of this machine is given while this process lives.

    A server listens seconds after its port was chosen. Until then nobody else may get it.
    """
    folder = Path(tempfile.gettempdir()) / f"pneumonia-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in random.SystemRandom().sample(range(_FIRST, _LAST), 1000):
        file = (folder / str(port)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            file.close()
            continue
        _held.append(file)
        return port
    raise OSError(f"no port from {_FIRST} to {_LAST} is free")
