import socket
import subprocess
import sys

import pytest

from tasks.execution import embedded_server
from tests.e2e.network import require_own_pages_only
from tests.e2e.services import wait_for
from tests.support.ports import free_port

SERVED = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": message["type"] + ".complete"})
"""


@pytest.fixture
def served(tmp_path):
    """A server whose parent is this process, and its port."""
    (tmp_path / "served.py").write_text(SERVED)
    port = free_port()
    options = ["--app-dir", str(tmp_path), "--host", "127.0.0.1", "--port", str(port), "--lifespan", "on", "served:app"]
    process = subprocess.Popen([sys.executable, "-P", embedded_server.__file__, *options], stdin=subprocess.PIPE)
    yield process, port
    process.kill()
    process.communicate()


def _listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_the_server_ends_with_the_process_that_started_it(served):
    process, port = served
    wait_for(lambda: _listens(port))
    process.stdin.close()  # as the system does for a process that is killed
    wait_for(lambda: process.poll() is not None)


def test_a_parent_that_dies_while_the_server_starts_leaves_none(served):
    process, _ = served
    process.stdin.close()
    wait_for(lambda: process.poll() is not None)


def test_pages_of_other_sites_are_refused(served):
    _, port = served
    wait_for(lambda: _listens(port))
    require_own_pages_only(f"http://127.0.0.1:{port}", "/")
