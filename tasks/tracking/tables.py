"""The tables of MLflow's database in the folder of products, whole or not at all.

MLflow makes them in some fifty migrations, which SQLite does not undo: one that is killed in mid-way leaves a database
that no later start can go on with. Prefect's come in transactions, and PostgreSQL undoes either's.
"""

import contextlib
import sqlite3
from pathlib import Path

from tasks.storage.locations import locks, outputs
from tasks.storage.temporary_files import made_whole


def make_tables() -> None:
    """Make `outputs/mlflow.db` where it is missing, or where a kill has left one that is half made."""
    from filelock import FileLock  # which warns where there is no `fcntl`, before that is said in a sentence

    path = outputs() / "mlflow.db"
    locks().mkdir(parents=True, exist_ok=True)
    with FileLock(locks() / "tables.lock"):  # two first starts at once
        if path.exists() and path.stat().st_size and not _half_made(path):
            return
        from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with made_whole(path, outputs()) as temporary:
            SqlAlchemyStore(f"sqlite:///{temporary}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine.dispose()
            for rest in ("-journal", "-wal", "-shm"):  # of a database that was here: SQLite would put it into this one
                path.with_name(path.name + rest).unlink(missing_ok=True)


def _half_made(path: Path) -> bool:
    """Tell whether a database has MLflow's tables and no experiment: the first is made right after the tables."""
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        try:
            return not connection.execute("SELECT 1 FROM experiments LIMIT 1").fetchall()
        except sqlite3.DatabaseError:  # another program's, or locked: MLflow says what is wrong
            return False
