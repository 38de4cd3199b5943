"""A server that a test starts finds its port free, seconds after it was chosen."""

import socket
import subprocess
import sys

from tests.conftest import CHECKOUT
from tests.support.ports import free_port

ASK_FOR = """
import random, sys
random.SystemRandom.sample = lambda self, ports, count: [int(sys.argv[1])]
from tests.support.ports import free_port
try:
    print(free_port())
except OSError as error:
    print(error)
"""


def _asked_for(port):
    """What another process is told that has drawn this port."""
    command = [sys.executable, "-c", ASK_FOR, str(port)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()


def test_a_port_is_nobody_elses():
    port = free_port()
    assert "is free" in _asked_for(port)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))


def test_a_port_on_which_something_listens_is_passed_over():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "is free" in _asked_for(server.getsockname()[1])
