"""A server in this process, for what only a real connection shows."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn

from deployments.guards.slow_clients import PROTOCOL
from tests.e2e.services import wait_for
from tests.support.ports import free_port


@contextlib.contextmanager
def served(app: Any) -> Iterator[int]:
    """Serve an application on loopback, as the servers are.

    Yields:
        Its port.
    """
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http=PROTOCOL, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join()
