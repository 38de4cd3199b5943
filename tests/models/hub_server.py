"""A small Hugging Face hub on this machine, for tests."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GOOD, NOT_ACCEPTED, INVALID = "hf_good", "hf_not_accepted", "hf_invalid"


class Hub(ThreadingHTTPServer):
    """Serves one gated model: its description to everybody, its files to one token."""

    daemon_threads = True

    def __init__(self, folder: Path, model: str) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.folder = folder
        self.model = model
        self.broken = False
        self.repeats_tokens = False
        self.sent: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        path = urlsplit(self.path).path
        if self.server.broken:
            return self.answer(503)
        if token == INVALID:
            return self.refuse(401, message=f"Invalid credentials in Authorization header{self.repeated(token)}")
        if self.server.model not in path:
            return self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        kind, _, rest = path.split(self.server.model)[1].lstrip("/").partition("/")
        revision, _, name = rest.partition("/")
        if revision not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if kind == "revision":
            description = {"id": self.server.model, "sha": COMMIT, "siblings": []}
            return self.answer(200, json.dumps(description).encode())
        if kind == "tree":
            files = [self.entry(file) for file in self.server.folder.iterdir() if file.is_file()]
            return self.answer(200, json.dumps(files).encode())
        if token != GOOD:
            said = f"Access to model {self.server.model} is restricted{self.repeated(token)}"
            return self.refuse(403 if token else 401, "GatedRepo", said)
        content = (self.server.folder / name).read_bytes()
        self.server.sent.append(f"{self.command} {name}")
        return self.answer(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{git_id(content)}"'})

    do_HEAD = do_GET  # noqa: N815  http.server's name

    def entry(self, file: Path) -> dict[str, object]:
        content = file.read_bytes()
        return {"type": "file", "path": file.name, "size": len(content), "oid": git_id(content)}

    def repeated(self, token: str) -> str:
        return f": {token}" if self.server.repeats_tokens else ""

    def refuse(self, status: int, code: str | None = None, message: str = "") -> None:
        self.answer(status, b"{}", {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}))

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(folder: Path, model: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Put a hub with an empty cache before it, and nobody logged in, where huggingface_hub looks."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    with Hub(folder, model) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def unused_address() -> str:
    """Where nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
