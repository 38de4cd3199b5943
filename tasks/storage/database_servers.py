"""Databases on servers: whether one answers, before a library asks it for minutes."""

import socket

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from models.errors import InputError
from models.text import printable

ANSWER_SECONDS = 5
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def require_database(url: str, variable: str) -> None:
    """Refuse the address of a database at which nothing answers. A file, and a socket of this machine, are not asked.

    Args:
        url: as SQLAlchemy takes it.
        variable: which setting names it.

    Raises:
        InputError: it is no such address, or nothing takes a connection there. Its login is not repeated.
    """
    try:
        parsed = make_url(url)
        port = parsed.port or _PORTS.get(parsed.get_backend_name())
    except (ArgumentError, ValueError) as error:
        raise InputError(
            f"{variable} is no address of a database: give one such as postgresql://USER@HOST:5432/DATABASE or "
            "sqlite:////where/file.db, or unset it."
        ) from error
    if not parsed.host or port is None:
        return
    try:
        socket.create_connection((parsed.host, port), ANSWER_SECONDS).close()
    except (OSError, UnicodeError) as error:  # a name that cannot be one of a host
        raise InputError(
            f"{variable} names a database at {printable(parsed.host, 60)}:{port}, where nothing answers "
            f"({printable(error)}): start it, or unset the setting."
        ) from error
