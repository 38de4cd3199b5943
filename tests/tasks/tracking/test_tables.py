import contextlib
import shutil
import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from tasks.storage.temporary_files import FOLDER, made_whole
from tasks.tracking import runs, tables
from tests.support.half_made import leave_half_made


def _revision(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT version_num FROM alembic_version").fetchone()


def test_tables_that_a_kill_left_half_made_are_made_anew(outputs, monkeypatch):
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    database = outputs / "mlflow.db"
    whole = _revision(database)
    database.unlink()
    leave_half_made(database)
    assert _revision(database) != whole
    copy = shutil.copy(database, outputs / "copy.db")
    with pytest.raises(OperationalError, match="already exists"):
        SqlAlchemyStore(f"sqlite:///{copy}", "file:///nowhere")
    monkeypatch.setattr(runs, "_prepared", set())
    assert {experiment.name for experiment in runs.new_client().search_experiments()} >= set(runs.EXPERIMENTS)
    assert _revision(database) == whole


def test_the_tables_are_made_whole_or_not_at_all(outputs, monkeypatch):
    """A process that is killed while MLflow makes them must leave nothing where the database is to be."""

    @contextlib.contextmanager
    def killed(path, root):
        with made_whole(path, root) as temporary:
            yield temporary
            assert temporary.stat().st_size
            raise KeyboardInterrupt

    database = outputs / "mlflow.db"
    database.unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tables, "made_whole", killed)
        tables.make_tables()
    assert not database.exists()
    assert not list((outputs / FOLDER).iterdir())
    journals = [database.with_name(f"mlflow.db{rest}") for rest in ("-journal", "-wal")]  # of one that was removed
    for journal in journals:
        journal.write_bytes(b"of another database")
    tables.make_tables()
    assert _revision(database)
    assert not [journal for journal in journals if journal.exists()]


@pytest.mark.parametrize("content", [b"no database at all, but longer than a header of one hundred bytes " * 3, None])
def test_a_database_that_holds_something_is_left_as_it_is(outputs, content):
    database = outputs / "mlflow.db"
    if content is not None:
        database.write_bytes(content)
    before = database.read_bytes()
    tables.make_tables()
    assert database.read_bytes() == before
