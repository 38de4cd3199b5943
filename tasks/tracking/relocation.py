"""A folder of products that was moved or copied: MLflow knows its files by absolute addresses, which follow here."""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.storage.locations import outputs, tracking_artifacts, tracking_uri

_ADDRESSES = {  # of MLflow 3.17; what an earlier version lacks is left out
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
    "trace_tags": ("value",),
}


def follow_the_move() -> int:
    """Have the database in the folder of products name the files in the folder where it lies now.

    An experiment whose files are kept elsewhere on purpose (`MLFLOW_ARTIFACTS`) stays as it is.

    Returns:
        How many addresses were changed.
    """
    database, here = outputs() / "mlflow.db", tracking_artifacts()
    if not database.exists() or tracking_uri() != f"sqlite:///{database}" or not here.startswith("file:"):
        return 0
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        try:
            found = connection.execute("SELECT name, artifact_location FROM experiments").fetchall()
        except sqlite3.OperationalError:  # no tables yet
            return 0
        places = {_moved_from(name, location, here) for name, location in found}
        return sum(_rename(connection, old, here) for old in places if old is not None)


def _moved_from(name: str, location: str, here: str) -> str | None:
    """Return where all files lay, if an experiment's did elsewhere and are here now, or nowhere else."""
    old = location.removesuffix(f"/{name}")
    if old in (location, here) or not location.startswith("file:"):
        return None
    return old if _path(f"{here}/{name}").exists() or not _path(location).exists() else None


def _rename(connection: sqlite3.Connection, old: str, new: str) -> int:
    changed = 0
    for table, columns in _ADDRESSES.items():
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for column in (column for column in columns if column in known):
            changed += connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            ).rowcount
    return changed


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))
