"""A webhook that keeps what alerts say, and refuses some of them at first."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REFUSED = "refused-classifier"
"""Begins the alerts that it takes at the third time only."""


@contextlib.contextmanager
def webhook() -> Iterator[tuple[list[str], str]]:
    """Listen on loopback.

    Yields:
        The texts that have come, a list that grows; the address.
    """
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            said = json.loads(self.rfile.read(int(self.headers["content-length"])))["text"]
            received.append(said)
            self.send_response(500 if said.startswith(REFUSED) and received.count(said) < 3 else 200)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield received, f"http://127.0.0.1:{server.server_port}/secret-of-the-webhook"
    finally:
        server.shutdown()
        server.server_close()
