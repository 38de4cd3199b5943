"""`make upgrade`: the databases of an earlier version brought to this one's, after a backup.

Both trackers bring their own: `prefect server database upgrade` and `mlflow db upgrade`. Results and content of the
store need nothing: a step whose code or libraries have changed since runs again, and says so.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, create_engine, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from deployments.local import databases
from deployments.local.backup import make
from deployments.local.services import running
from models.errors import InputError
from models.text import printable
from tasks.storage.locations import environment, outputs
from tasks.storage.temporary_files import made_whole

_COMMANDS = {
    "prefect": ["prefect", "server", "database", "upgrade", "--yes"],
    "mlflow": ["mlflow", "db", "upgrade"],
}


def main() -> int:
    """Bring both databases to this version.

    Returns:
        Exit code: 0 when done or there is nothing to do, 2 where it is refused or fails.
    """
    os.environ.update(environment())
    try:
        for line in upgrade():
            sys.stdout.write(f"{line}\n")
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def upgrade() -> list[str]:
    """Make a backup, then bring both databases to this version.

    Returns:
        What was done, in lines.

    Raises:
        InputError: the services are up, or a database cannot be read or upgraded.
    """
    if running():
        raise InputError("The services are up: end them with `make down`, then upgrade. Nothing was changed.")
    found = _found()
    if not found:
        return [f"There are no databases in {outputs()}: nothing to upgrade."]
    before = {name: _version(url) for name, url in found.items()}
    lines = [f"Backup: {make().strip()}"]
    sys.stdout.flush()
    for name, url in found.items():
        _run(name, url)
        after = _version(url)
        changed = "is as it should be" if after == before[name] else f"went from {before[name]} to {after}"
        lines.append(f"The database of {name} {changed} ({printable(databases.shown(url))}).")
    lines.append("Steps whose code or libraries have changed run again, each with its reason; `make up` may start.")
    return lines


def _found() -> dict[str, URL]:
    """Find the databases that are there, with addresses for programs that wait for their answers."""
    home = os.environ.get("PREFECT_HOME", str(outputs() / "prefect"))
    files = {"prefect": f"{home}/prefect.db", "mlflow": str(outputs() / "mlflow.db")}
    local = {name: make_url(f"sqlite:///{file}") for name, file in files.items() if os.path.isfile(file)}  # noqa: PTH113
    return local | {name: url.set(drivername="postgresql+psycopg2") for name, url in databases.on_postgresql().items()}


def _version(url: URL) -> str:
    """Return the revision of a database's schema, as Alembic notes it.

    Raises:
        InputError: the database cannot be read, or none of the trackers made it.
    """
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return "nothing"
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())
    except SQLAlchemyError as error:
        raise InputError(
            f"The database {databases.shown(url)} cannot be read ({printable(error, 140)}): mend it, or take it from a "
            "backup. Nothing was changed."
        ) from error
    finally:
        engine.dispose()


def _run(name: str, url: URL) -> None:
    """Call a tracker's own command; it talks to the database itself, not to a server.

    Raises:
        InputError: it fails.
    """
    command = [sys.executable, "-m", *_COMMANDS[name]]
    with _aside(url) if name == "mlflow" else contextlib.nullcontext(url) as place:
        if name == "mlflow":
            command.append(databases.without_password(place))
        done = subprocess.run(
            command, env=databases.login(url), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
            raise InputError(
                f"The database of {name} could not be upgraded ({printable(said, 120)}): it may be of a newer version "
                "than this one. The backup that was made has it as it was: make restore BACKUP=file."
            )


@contextlib.contextmanager
def _aside(url: URL) -> Iterator[URL]:
    """Let MLflow's migrations, which SQLite does not undo, work on a copy that takes the file's place in the end."""
    if url.get_backend_name() != "sqlite":
        yield url
        return
    path = Path(str(url.database))
    with made_whole(path, outputs()) as copy:
        with contextlib.closing(sqlite3.connect(path)) as old, contextlib.closing(sqlite3.connect(copy)) as new:
            old.backup(new)
        shutil.copymode(path, copy)
        yield url.set(database=str(copy))


if __name__ == "__main__":
    raise SystemExit(main())
