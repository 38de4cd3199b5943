"""Where the page listens, under which names, and who may use it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from deployments.guards.reach import is_everywhere, is_loopback
from models.errors import InputError
from models.text import printable
from tasks.execution.own_pages import LOOPBACK_NAMES

DEFAULT_PORT = 8300
_SHORTEST_PASSWORD = 8


@dataclass(frozen=True)
class PageSettings:
    """Where the page listens, under which names, and who may use it.

    Attributes:
        host: address to listen on.
        port: port.
        names: hosts that a request may be addressed to; another one is of a foreign site whose name leads here.
        login: user and password, `user:password`; None on loopback, where none is needed.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    names: frozenset[str] = LOOPBACK_NAMES
    login: str | None = None

    @property
    def address(self) -> str:
        """Where this machine reaches the page."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # all addresses: also the loopback's
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def page_settings(variables: Mapping[str, str] = os.environ) -> PageSettings:
    """Read `PAGE_HOST`, `PAGE_PORT`, `PAGE_NAMES` and `PAGE_LOGIN`.

    Args:
        variables: an environment; a variable that is empty counts as one that is not there.

    Returns:
        The settings.

    Raises:
        InputError: one of them is wrong, or the page would be open to others without a login.
    """
    host = variables.get("PAGE_HOST") or PageSettings.host
    login = variables.get("PAGE_LOGIN") or None
    names = {name.strip().lower() for name in (variables.get("PAGE_NAMES") or "").split(",")} - {""}
    if login is not None and (not all(login.partition(":")) or len(login.partition(":")[2]) < _SHORTEST_PASSWORD):
        raise InputError(
            f"PAGE_LOGIN is no login: user:password was expected, with a password of at least {_SHORTEST_PASSWORD} "
            "characters; correct it."
        )
    if not is_loopback(host):
        if login is None:
            raise InputError(
                f"PAGE_HOST={printable(host)} opens the page for one's own X-rays to other machines, which needs a "
                "login: set PAGE_LOGIN=user:password, or leave PAGE_HOST out to listen on loopback only."
            )
        if not names and is_everywhere(host):
            raise InputError(
                f"PAGE_HOST={printable(host)} needs the names or addresses by which people reach the page: set "
                "PAGE_NAMES=xrays.example,10.0.0.5 for instance."
            )
    return PageSettings(host, _port(variables), LOOPBACK_NAMES | names | {host.lower()}, login)


def _port(variables: Mapping[str, str]) -> int:
    text = variables.get("PAGE_PORT") or str(DEFAULT_PORT)
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 65535:
        raise InputError(f"PAGE_PORT={printable(text)} is not a port: give a number from 1 to 65535.")
    return int(text)
