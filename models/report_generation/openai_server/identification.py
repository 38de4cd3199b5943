"""What stands behind an address: which server in which version, and the model that it claims to run.

A server can only be believed. What it says of itself and of the model is asked for once, when a run starts, and is part
of the identity of every row, so that rows of another version or model are others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from anyio.from_thread import start_blocking_portal

from models.errors import InputError
from models.report_generation.openai_server.connection import Connection
from models.report_generation.openai_server.exchange import Prompt, RefusedError, request
from models.text import printable

RETRIES = 2
"""Further tries while a run starts, when somebody may be waiting."""

_PAGES = (
    ("/version", "vLLM", "version"),
    ("/props", "llama.cpp", "build_info"),
    ("/api/version", "Ollama", "version"),
    ("/server_info", "SGLang", "version"),
)
"""Where servers tell their version, below the address without `/v1`: page, server and field."""
_LISTED_MODELS = 5
_CLAIMS = {"n_params": " parameters", "size": " bytes", "ftype": ""}
"""What llama.cpp says of the weights; what it says of the context is a setting of the server."""


@dataclass(frozen=True)
class ServedModel:
    """A model on a server.

    Attributes:
        server: address of the server.
        version: the server and its version, as far as it tells.
        model: the name that the server has for the model.
        revision: what the server says of the weights behind that name, or None where it says nothing.
    """

    server: str
    version: str
    model: str
    revision: str | None


def identify(server: str, model: str, key: str | None) -> ServedModel:
    """Find out what stands behind an address, and whether it answers a question about a picture.

    Args:
        server: address, as `address.normalised` writes it.
        model: the name that the server has for the model.
        key: what the server is opened with, or None.

    Returns:
        What it says of itself.

    Raises:
        InputError: it cannot be reached, does not accept the key, does not have the model, or the model takes no
            pictures.
    """
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Connection(server, key, retries=RETRIES)) as connection,
    ):
        return portal.call(_identify, connection, server, model)


async def _identify(connection: Connection, server: str, model: str) -> ServedModel:
    try:
        listed, _ = await connection.get("/models")
        listing = _entry(listed, server, model)
        version = await _version(connection, server.removesuffix("/v1"))
        digest = await _ollama_digest(connection, server, model) if version.startswith("Ollama") else None
        # One token about a small picture: whether it can be had, and what the answer itself tells.
        trial = request(model, Prompt("Answer with one word.", image=np.zeros((28, 28), np.uint8), max_tokens=1))
        answer = await connection.chat(trial)
    except RefusedError as error:
        raise InputError(
            f"The model {printable(model)} on {printable(server)} does not answer a question about a picture: "
            f"{printable(error, 150)}"
        ) from None
    told = answer if isinstance(answer, dict) else {}
    fingerprint, answering = told.get("system_fingerprint"), told.get("model")
    if not version and isinstance(fingerprint, str):
        version = f"fingerprint {fingerprint}"
    claims = [digest, *_claims(listing)]
    if isinstance(answering, str) and answering != model:
        claims.append(answering)
    revision = ", ".join(printable(claim) for claim in dict.fromkeys(filter(None, claims)))
    return ServedModel(server, printable(version or "unknown version"), model, revision or None)


def _entry(listed: Any, server: str, model: str) -> Mapping[str, Any]:
    """Find the model in the list of the server; a server that lists none is believed to have it."""
    entries = listed.get("data") if isinstance(listed, dict) else None
    found = [each for each in entries or () if isinstance(each, dict) and isinstance(each.get("id"), str)]
    for entry in found:
        aliases = entry.get("aliases")
        names = (entry["id"], *(aliases if isinstance(aliases, list) else ()))
        if model in names or f"{model}:latest" in names:  # as Ollama completes it
            return entry
    if not found:
        return {}
    offered = ", ".join(printable(entry["id"], 40) for entry in found[:_LISTED_MODELS])
    more = f" and {len(found) - _LISTED_MODELS} more" if len(found) > _LISTED_MODELS else ""
    raise InputError(
        f"The server {printable(server)} has no model {printable(model, 60)}: it offers {offered}{more}; choose one "
        "with --reports.model."
    )


def _claims(entry: Mapping[str, Any]) -> list[str]:
    """Read what the list says of the weights; when they were made is no part, as most servers say the present time."""
    root, meta = entry.get("root"), entry.get("meta")
    claims = [str(root)] if isinstance(root, str) and root != entry.get("id") else []
    if isinstance(meta, dict) and any(name in meta for name in _CLAIMS):
        claims.append(", ".join(f"{meta[name]}{unit}" for name, unit in _CLAIMS.items() if name in meta))
    return claims


async def _version(connection: Connection, root: str) -> str:
    for path, name, field in _PAGES:
        page, headers = await connection.get(root + path)
        if isinstance(page, dict) and isinstance(page.get(field), str):
            return f"{name} {page[field]}"
        if headers.get("server") == "llama.cpp" and name == "llama.cpp":  # whose pages may be switched off
            return "llama.cpp"
    return ""


async def _ollama_digest(connection: Connection, server: str, model: str) -> str | None:
    page, _ = await connection.get(server.removesuffix("/v1") + "/api/tags")
    for entry in page.get("models", ()) if isinstance(page, dict) else ():
        if isinstance(entry, dict) and entry.get("name") in (model, f"{model}:latest"):
            return f"sha256:{entry['digest']}" if entry.get("digest") else None
    return None
