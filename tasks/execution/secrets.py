"""Secrets that a step needs, from where the orchestrator or the environment keeps them; they never enter a record."""

import os
from typing import Any

from prefect.blocks.system import Secret


def hub_token(block: str) -> str | None:
    """Take the access token of the Hugging Face hub from a Prefect Secret block, else from the environment.

    Args:
        block: name of the block, which need not exist.

    Returns:
        The token, or None where there is none.
    """
    return _secret(block, "HF_TOKEN")


def archive_login(block: str) -> str | None:
    """Take the login of a DICOM archive from a Prefect Secret block, else from the environment (`DICOMWEB_LOGIN`).

    Args:
        block: name of the block, which need not exist.

    Returns:
        `name:password` or a token, or None where there is none.
    """
    return _secret(block, "DICOMWEB_LOGIN")


def _secret(block: str, variable: str) -> str | None:
    try:
        secret: Any = Secret.load(block)
        return str(secret.get())
    except ValueError:  # there is no such block
        return os.environ.get(variable) or None
