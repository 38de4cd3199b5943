import subprocess
import sys

import pytest

from tasks.execution import imports
from tests.conftest import CHECKOUT

TOGETHER = """
import sys, threading
from tasks.execution import imports
from tasks.retrieval.steps import analysis

both, problems = threading.Barrier(2), []

def load(name):
    both.wait()
    try:
        imports.load(getattr(analysis, name).fn.__wrapped__.__wrapped__)
    except BaseException as error:
        problems.append(repr(error))

names = "analyse_failures", "analyse_neighbours"
threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not problems, problems
assert "matplotlib.ticker" in sys.modules
"""
MUTUAL = """
import threading
threading.both.wait()  # until the other is being imported too
from {other} import value
value = 1
"""
BY_THEMSELVES = """
import threading

threading.both, problems = threading.Barrier(2), []

def load(name):
    try:
        __import__(name)
    except ImportError as error:
        problems.append(str(error))

threads = [threading.Thread(target=load, args=(name,)) for name in ("first", "second")]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*problems)
"""


def run(program, folder=CHECKOUT):
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)


def test_two_steps_that_are_the_first_to_draw_load_what_they_need():
    done = run(TOGETHER)
    assert done.returncode == 0, done.stderr


def test_two_threads_that_import_by_themselves_fail(tmp_path):
    """Of modules that import each other, as those of matplotlib do; else all of this could go."""
    for name, other in (("first", "second"), ("second", "first")):
        (tmp_path / f"{name}.py").write_text(MUTUAL.format(other=other))
    done = run(BY_THEMSELVES, tmp_path)
    assert "partially initialized module" in done.stdout, done.stderr


def test_what_a_body_imports_is_imported_before_it_runs(monkeypatch):
    from tasks.retrieval.steps import analysis

    loaded = []
    monkeypatch.setattr(imports.importlib, "import_module", loaded.append)
    imports.load(analysis.analyse_neighbours.fn.__wrapped__.__wrapped__)
    assert loaded[0] == "matplotlib"
    assert "tasks.retrieval.findings.neighbours" in loaded


@pytest.mark.timeout(300)
def test_a_step_within_a_step_does_not_wait_for_itself():
    from tasks.retrieval.steps import analysis

    with imports.one_at_a_time():
        imports.load(analysis.analyse_neighbours.fn.__wrapped__.__wrapped__)
