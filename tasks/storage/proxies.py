"""HTTP proxies, which the environment names: what is on this machine is reached without them."""

import os

import httpx

from models.errors import InputError
from models.text import printable

_KINDS = ("http_proxy", "https_proxy", "all_proxy")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def loopback_without_proxy() -> dict[str, str]:
    """Return `NO_PROXY` with the names of this machine, where there is a proxy at all.

    Prefect's and MLflow's clients send even loopback calls to a proxy, which knows nothing of this machine's servers.
    """
    if not any(os.environ.get(name) for kind in _KINDS for name in (kind, kind.upper())):
        return {}
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in listed.split(",") if host.strip()]
    hosts += [host for host in _LOOPBACK if host not in hosts]
    return {name: ",".join(hosts) for name in ("no_proxy", "NO_PROXY")}  # which of them is read first differs


def require_proxies() -> None:
    """Refuse proxies that no client can be made with, even for addresses that go past them.

    Raises:
        InputError: one of the variables is wrong, or names a kind of proxy that needs a package.
    """
    try:
        httpx.Client().close()
    except ImportError as error:
        raise InputError(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names a SOCKS proxy, which needs the package socksio: install it "
            "with `.venv/bin/uv pip install socksio`, name an HTTP proxy, or unset the variable."
        ) from error
    except (httpx.InvalidURL, ValueError) as error:
        raise InputError(
            f"HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY cannot be used ({printable(error)}): give addresses such "
            "as http://proxy:3128, and in NO_PROXY names separated by commas."
        ) from error
