"""How long MLflow waits where its tracker is a SQLite file that another process writes: a backup, a migration, a copy.

SQLite lets one write at a time. MLflow waits twenty seconds for its turn, which it says to SQLite at the beginning of
every session; then the run fails.
"""

from typing import Any

WAIT_SECONDS = 180
_OF_MLFLOW = "PRAGMA busy_timeout = 20000;"
_INSTEAD = f"PRAGMA busy_timeout = {WAIT_SECONDS * 1000};"


def wait_for_others() -> None:
    """Let MLflow, in this process, wait longer for its turn."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "before_cursor_execute", _be_patient):
        event.listen(Engine, "before_cursor_execute", _be_patient, retval=True)


def _be_patient(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    return (_INSTEAD if statement == _OF_MLFLOW else statement), parameters
