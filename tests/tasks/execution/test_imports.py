import subprocess
import sys
import threading

import pytest

from tasks.execution import imports
from tests.conftest import CHECKOUT

TOGETHER = """
import sys, threading
from tasks.execution.imports import import_one_at_a_time
{prepare}
both, problems = threading.Barrier(2), []

def load(statement):
    both.wait()
    try:
        exec(statement, {{}})
    except BaseException as error:
        problems.append(repr(error))

threads = [threading.Thread(target=load, args=(words,)) for words in ("import matplotlib.patches", "import matplotlib")]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit("; ".join(problems) or 0)
"""


@pytest.mark.parametrize(("prepare", "fails"), [("", True), ("import_one_at_a_time()", False)], ids=["plain", "alone"])
def test_two_threads_load_a_library_that_imports_in_a_circle(prepare, fails):
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER.format(prepare=prepare)], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.returncode != 0) == fails, done.stderr
    assert ("partially initialized module" in done.stderr) == fails


def test_steps_are_loaded_so_and_to_ask_twice_changes_nothing():
    import builtins

    import tasks.execution.caching  # noqa: F401

    found = builtins.__import__
    assert found.one_at_a_time
    imports.import_one_at_a_time()
    assert builtins.__import__ is found


def test_an_import_that_waits_for_another_one_ends(monkeypatch):
    monkeypatch.setattr(imports, "_MOST_SECONDS", 0.05)
    loaded = []

    def found(name, *_):
        if name == "outer":  # as a module that starts a thread which imports, and waits for it
            other = threading.Thread(target=lambda: loaded.append(load("inner")))
            other.start()
            other.join()
        return name

    load = imports._one_at_a_time(found)
    assert load("outer") == "outer"
    assert loaded == ["inner"]
