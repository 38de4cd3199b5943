"""MLflow's tables as a kill leaves them."""

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_KILLED = """
import itertools, os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine

drops = itertools.count(1)

@event.listens_for(Engine, "before_cursor_execute")
def kill(_connection, _cursor, statement, *_):
    if "DROP TABLE" in statement and next(drops) == 5:  # a migration's copy of a table is there, and the table, too
        os.kill(os.getpid(), 9)

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore(f"sqlite:///{sys.argv[1]}", "file:///nowhere")
"""


def leave_half_made(database: Path) -> None:
    """Let MLflow make its tables, and kill it in the middle of a migration."""
    done = subprocess.run([sys.executable, "-c", _KILLED, str(database)], cwd=CHECKOUT, capture_output=True)
    assert done.returncode == -9
    assert database.stat().st_size
