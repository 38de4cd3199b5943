"""A server that speaks OpenAI's interface and misbehaves as it is told, which a real one cannot be asked to do.

What it answers is the same for the same question, so that rows can be compared; no language model is behind it.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "small-model"

Fault = Callable[["_Handler"], None]


def status(code: int, words: str = "", **headers: str) -> Fault:
    """Answer with a status and OpenAI's form of an error."""
    body = json.dumps({"error": {"message": words, "type": "some_error", "code": code}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(code, body, named)


def drop(handler: "_Handler") -> None:
    """Break the connection without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(2)


def half(handler: "_Handler") -> None:
    """Break the connection in the middle of an answer."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"message": {"content": "Findi')
    drop(handler)


def unmeasured_half(handler: "_Handler") -> None:
    """Break off in the middle of an answer of which nobody knows the length."""
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"message": {"content": "Findi')


def page(handler: "_Handler") -> None:
    """Answer with a web page, as a proxy might."""
    handler.answer(200, b"<html>Welcome</html>", {"Content-Type": "text/html"})


def slow(seconds: float) -> Fault:
    """Be silent for a while."""

    def wait(handler: "_Handler") -> None:
        handler.server.stand_in.stopped.wait(seconds)
        drop(handler)

    return wait


@dataclass
class StandIn:
    """The running server, and what it was asked.

    Attributes:
        url: its address.
        fault: what a request for a completion meets, by its body and how often it came before; None answers it.
        key: what it wants to be opened with, or None.
        logprobs: log-probabilities by token that it lists for the first token; None lists none.
        words: that the model says beside what it is asked for.
        delay: seconds that an answer takes.
        asked: bodies of the requests for completions, faults included.
        headers: headers of all requests.
        most_at_once: most requests for completions that were in flight together.
    """

    url: str = ""
    fault: Callable[[Mapping[str, Any], int], Fault | None] = lambda body, before: None
    key: str | None = None
    logprobs: Mapping[str, float] | None = field(default_factory=lambda: {"Yes": -0.5, "No": -1.2, " yes": -3.0})
    words: str = ""
    delay: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    pages: dict[str, Any] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    _times: dict[str, int] = field(default_factory=dict)
    _in_flight: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def completion(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a question; the text says which question it was."""
        mark = question(body)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}
        choice["message"]["content"] = (
            f"Findings: none, {mark}. {self.words}\nImpression: clear. {self.words}\nLabel: normal\nCertainty: low"
        )
        schema = body.get("response_format", {}).get("json_schema", {})
        if schema.get("name") == "report":
            choice["message"]["content"] = json.dumps(
                {
                    "image_quality": "limited",
                    "findings": [{"name": "opacity", "presence": "absent", "detail": "none"}],
                    "impression": f"Clear, {mark}. {self.words[:150]}", "differential": [],
                    "label": "normal", "certainty": "low", "limitations": [],
                }
            )  # fmt: skip
        elif schema.get("name") == "choice":
            choice["message"]["content"] = '{"answer": "No"}'
        elif body.get("logprobs"):
            choice["message"]["content"] = "Yes"
            choice["finish_reason"] = "length"
            if self.logprobs is not None:
                listed = [{"token": token, "logprob": value} for token, value in self.logprobs.items()]
                choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
        usage = {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320}
        return {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


def question(body: Mapping[str, Any]) -> str:
    """Digest what is asked: words, picture and form of the answer."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    stand_in: StandIn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer what a server tells of itself."""
        server = self.server.stand_in
        server.headers.append(dict(self.headers))
        pages = {"/v1/models": {"data": [{"id": MODEL, "created": int(time.time() * 1000)}]}, **server.pages}
        if not self._opened():
            self.answer(401, b'{"error": {"message": "Incorrect API key provided"}}')
        elif self.path in pages:
            self.answer(200, json.dumps(pages[self.path]).encode())
        else:
            self.answer(404, b'{"error": {"message": "Not Found"}}')

    def do_POST(self) -> None:
        """Answer a question, or meet it with a fault."""
        server = self.server.stand_in
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mark = question(body)
        with server._lock:
            server.headers.append(dict(self.headers))
            server.asked.append(body)
            before = server._times.get(mark, 0)
            server._times[mark] = before + 1
            server._in_flight += 1
            server.most_at_once = max(server.most_at_once, server._in_flight)
        try:
            fault = server.fault(body, before)
            if not self._opened():
                given = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status(401, f"Incorrect API key provided: {given}")(self)
            elif fault is not None:
                fault(self)
            else:
                server.stopped.wait(server.delay)
                self.answer(200, json.dumps(server.completion(body)).encode())
                with server._lock:
                    server.answered.append(mark)
        finally:
            with server._lock:
                server._in_flight -= 1

    def answer(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _opened(self) -> bool:
        key = self.server.stand_in.key
        return key is None or self.headers.get("Authorization") == f"Bearer {key}"


@contextmanager
def stand_in(**settings: Any) -> Iterator[StandIn]:
    """Run a server until the end of the block."""
    http = _Server(("127.0.0.1", 0), _Handler)
    http.stand_in = StandIn(url=f"http://127.0.0.1:{http.server_address[1]}/v1", **settings)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield http.stand_in
    finally:
        http.stand_in.stopped.set()
        http.shutdown()
        thread.join()
        http.server_close()
