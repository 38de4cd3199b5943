import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import make_url

from deployments.local import upgrade
from models.errors import InputError
from tasks.storage.temporary_files import FOLDER

HALF = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[-1].removeprefix("sqlite:///"), isolation_level=None)
database.execute("CREATE TABLE new (a)")
{}
"""


def _tables(path):
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.mark.parametrize(("end", "changed"), [("", {"new"}), ("os.kill(os.getpid(), 9)", set())])
def test_the_migrations_of_mlflow_reach_the_file_when_all_are_done_or_not_at_all(outputs, monkeypatch, end, changed):
    module = outputs / "migrations.py"
    module.write_text(HALF.format(end))
    monkeypatch.setenv("PYTHONPATH", str(outputs))
    monkeypatch.setitem(upgrade._COMMANDS, "mlflow", ["migrations"])
    database = outputs / "mlflow.db"
    before = _tables(database)
    try:
        upgrade._run("mlflow", make_url(f"sqlite:///{database}"))
        assert changed
    except InputError as error:
        assert not changed
        assert "could not be upgraded" in str(error)
    assert _tables(database) == before | changed
    assert not list((outputs / FOLDER).iterdir())
