"""Secrets that a step needs, from where the orchestrator or the environment keeps them; they never enter a record."""

import os
from typing import Any

from prefect.blocks.system import Secret
from prefect.logging import get_logger

from models.errors import InputError
from models.report_generation.openai_server.address import is_readable_on_the_way


def hub_token(block: str) -> str | None:
    """Take the access token of the Hugging Face hub from a Prefect Secret block, else from the environment.

    Args:
        block: name of the block, which need not exist.

    Returns:
        The token, or None where there is none.
    """
    return _secret(block, "HF_TOKEN")


def generator_secret(generator: str, token_block: str, key_block: str, server: str | None) -> str | None:
    """Take what a generator of reports opens its weights or its server with.

    Args:
        generator: its name.
        token_block: name of the block with the hub's token.
        key_block: name of the block with the server's key.
        server: address of the server, or None.

    Returns:
        Token or key; None where there is none, or none is needed.
    """
    if generator == "openai":
        return None if server is None else server_key(key_block, server)
    return hub_token(token_block) if generator == "medgemma" else None


def archive_login(block: str) -> str | None:
    """Take the login of a DICOM archive from a Prefect Secret block, else from the environment (`DICOMWEB_LOGIN`).

    Args:
        block: name of the block, which need not exist.

    Returns:
        `name:password` or a token, or None where there is none.
    """
    return _secret(block, "DICOMWEB_LOGIN")


def server_key(block: str, server: str) -> str | None:
    """Take the key of an OpenAI-compatible server from a Prefect Secret block, else from `OPENAI_API_KEY`.

    A key that happens to stand in the environment is not sent where others can read it on the way, over plain HTTP to
    another machine; one that somebody has put into the block for this server is, and the log says so.

    Args:
        block: name of the block, which need not exist.
        server: the server's address.

    Returns:
        The key, or None where there is none.

    Raises:
        InputError: the key of the environment would go over plain HTTP.
    """
    stored = _stored(block)
    key = stored or os.environ.get("OPENAI_API_KEY", "").strip() or None
    if key is None or not is_readable_on_the_way(server):
        return key
    if stored is None:
        raise InputError(
            f"OPENAI_API_KEY would go to {server} over plain HTTP, which others can read: give an https address, unset "
            f"it where the server asks for none, or put this server's key into the Secret block {block}."
        )
    get_logger(__name__).warning("The key of the block %s goes to %s over plain HTTP.", block, server)
    return key


def _secret(block: str, variable: str) -> str | None:
    return _stored(block) or os.environ.get(variable) or None


def _stored(block: str) -> str | None:
    try:
        secret: Any = Secret.load(block)
    except ValueError:  # there is no such block
        return None
    return str(secret.get()).strip() or None
