"""Addresses of OpenAI-compatible servers: one spelling for each, and no secret in any."""

import ipaddress
from urllib.parse import urlsplit

from models.errors import InputError
from models.text import printable

PATTERN = r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$"
"""What an address looks like, for forms that are checked elsewhere."""

_USUAL_PATH = "/v1"
_USUAL_PORTS = {"http": 80, "https": 443}


def normalised(address: str) -> str:
    """Write the address of a server in the one way in which it is part of a row's identity.

    Scheme and host are written small, the usual port and a last slash are left out, and where there is no path it is
    the usual one, `/v1`.

    Args:
        address: base URL, such as `http://127.0.0.1:8000/v1`.

    Returns:
        The same address.

    Raises:
        InputError: it is none, or holds a login or a query, which would be stored and shown with every result.
    """
    example = "give one such as http://127.0.0.1:8000/v1"
    try:
        parts = urlsplit(address.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"The address of the server cannot be read ({printable(error)}): {example}.") from None
    if "@" in parts.netloc:
        raise InputError(
            "The address of the server holds a login, which would be stored and shown with every result: leave it out, "
            "and put the key into the Secret block of --reports.key_block or into OPENAI_API_KEY."
        )
    if parts.scheme not in _USUAL_PORTS or not host or any(c.isspace() for c in parts.netloc + parts.path):
        raise InputError(f"{printable(_without_query(address))} is no address of a server: {example}.")
    if parts.query or parts.fragment:
        raise InputError(
            f"The address {printable(_without_query(address))} goes on with a query, which is stored and shown with "
            f"every result and may be a secret: {example}, without `?` and `#`."
        )
    named = f"[{host}]" if ":" in host else host
    shown_port = "" if port in (None, _USUAL_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{named}{shown_port}{parts.path.rstrip('/') or _USUAL_PATH}"


def is_loopback(address: str) -> bool:
    """Tell whether a server is on this machine, so that neither proxies nor the network see what is sent to it.

    Args:
        address: as `normalised` writes it.
    """
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_readable_on_the_way(address: str) -> bool:
    """Tell whether others can read what is sent to a server: plain HTTP to another machine.

    Args:
        address: as `normalised` writes it.
    """
    return urlsplit(address).scheme == "http" and not is_loopback(address)


def _without_query(address: str) -> str:
    return address.partition("?")[0].partition("#")[0]
