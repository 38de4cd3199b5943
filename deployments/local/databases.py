"""The databases of both servers, where they lie on PostgreSQL: dumped and put back by PostgreSQL's own programs.

They are found by the variables that the servers read, `PREFECT_SERVER_DATABASE_CONNECTION_URL` and
`MLFLOW_BACKEND_STORE_URI`. SQLite's lie in the folder of products.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from models.errors import InputError
from models.text import printable

VARIABLES = {"prefect": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "mlflow": "MLFLOW_BACKEND_STORE_URI"}
_TABLES = "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"


def on_postgresql() -> dict[str, URL]:
    """Find which of the servers' databases lie on PostgreSQL, and where.

    Raises:
        InputError: a variable holds no address.
    """
    found = {}
    for name, variable in VARIABLES.items():
        try:
            url = make_url(os.environ.get(variable) or "sqlite://")
        except ArgumentError as error:
            raise InputError(
                f"{variable} is no address of a database: postgresql://USER@HOST:PORT/DATABASE."
            ) from error
        if url.get_backend_name() == "postgresql":
            found[name] = url
    return found


def dump(url: URL, file: Path) -> None:
    """Write a database as it is at one moment into a file, with `pg_dump`.

    Raises:
        InputError: it cannot be dumped.
    """
    _call("pg_dump", url, ["--format=custom", f"--file={file}", without_password(url)])


def require_empty(url: URL) -> None:
    """Refuse a database that has tables already.

    Raises:
        InputError: it has some, or does not answer.
    """
    found = _call(
        "psql", url, ["--no-psqlrc", "--tuples-only", "--no-align", f"--command={_TABLES}", without_password(url)]
    )
    if found.strip() != "0":
        raise InputError(
            f"The database {shown(url)} holds tables already, and nothing is overwritten: make an empty one "
            "(createdb), and name it in the variable."
        )


def put_back(url: URL, file: Path) -> None:
    """Fill an empty database from a dump, whole or not at all, with `pg_restore`.

    Raises:
        InputError: it cannot be filled.
    """
    options = ["--no-owner", "--single-transaction", "--exit-on-error", f"--dbname={without_password(url)}", str(file)]
    _call("pg_restore", url, options)


def _call(program: str, url: URL, options: list[str]) -> str:
    path = shutil.which(program) or next(
        map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), reverse=True)), None
    )
    if path is None:
        raise InputError(f"{program} is not installed: it is part of PostgreSQL (apt-get install postgresql-client).")
    done = subprocess.run([path, *options], env=login(url), capture_output=True, text=True)
    if done.returncode:
        raise InputError(
            f"{program} of the database {shown(url)} failed ({printable(done.stderr, 140)}): mend that and try again."
        )
    return done.stdout


def login(url: URL) -> Mapping[str, str]:
    """Make the environment of a program that is given no password as an argument, since all can see those."""
    password = url.password or url.query.get("password")
    return os.environ | ({} if password is None else {"PGPASSWORD": str(password)})


def without_password(url: URL) -> str:
    """Write the address of a database for a program's arguments."""
    query = {name: value for name, value in url.query.items() if "password" not in name}
    plain = URL.create(url.get_backend_name(), url.username, None, url.host, url.port, url.database, query)
    return plain.render_as_string(hide_password=False)


def shown(url: URL) -> str:
    """Write the address of a database for a sentence."""
    return printable(without_password(url.set(query={})), 80)
