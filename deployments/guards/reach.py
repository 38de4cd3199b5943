"""From where a server can be reached, and under which names; beyond this machine it needs a login."""

import ipaddress
import os
from collections.abc import Mapping

from models.errors import InputError
from models.text import printable
from tasks.execution.own_pages import LOOPBACK_NAMES

_VARIABLE = "SERVER_NAMES"


def server_names(
    host: str, *, has_login: bool, login: str, variables: Mapping[str, str] = os.environ
) -> frozenset[str]:
    """Return the names under which a server may be asked; refuse one that others reach without a login.

    Args:
        host: the address that it listens on.
        has_login: whether it asks for one.
        login: how it gets one, for the sentence.
        variables: an environment; `SERVER_NAMES` holds the names by which others reach the server, with commas.

    Returns:
        Hosts, without ports.

    Raises:
        InputError: it is open beyond this machine without a login, or on all addresses without names.
    """
    if is_loopback(host):
        return LOOPBACK_NAMES
    if not has_login:
        raise InputError(
            f"The address {printable(host)} opens the server to other machines, which needs a login: {login}, or "
            "listen on 127.0.0.1."
        )
    names = frozenset(name.strip().lower() for name in (variables.get(_VARIABLE) or "").split(",")) - {""}
    if not names and is_everywhere(host):
        raise InputError(
            f"The address {printable(host)} needs the names by which people and workers reach the server: set "
            f"{_VARIABLE}=mlflow.example,10.0.0.5 for instance."
        )
    return LOOPBACK_NAMES | names | {host.lower()}


def is_loopback(host: str) -> bool:
    """Tell whether an address is of this machine alone."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_everywhere(host: str) -> bool:
    """Tell whether an address stands for all that a machine has."""
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
