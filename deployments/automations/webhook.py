"""The address that alerts are posted to, from the environment of `make up`."""

import os
from urllib.parse import urlsplit

from models.errors import InputError

_VARIABLE = "ALERTS_WEBHOOK"


def alerts_webhook() -> str | None:
    """Return the address that alerts are posted to: `ALERTS_WEBHOOK`, if it is set and not `none`.

    Raises:
        InputError: it is no address. The message does not repeat it, since whoever knows a webhook can post to it.
    """
    address = os.environ.get(_VARIABLE, "")
    if address in ("", "none"):
        return None
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or any(character.isspace() for character in address):
        raise InputError(
            f"{_VARIABLE} is not an address to post alerts to: give the whole URL of a webhook, which begins with "
            "https:// or http://, or `none`."
        )
    return address
