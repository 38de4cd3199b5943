import subprocess
import sys
import textwrap

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
        {way}
    except BaseException as error:
        problems.append(repr(error))

names = "analyse_failures", "analyse_neighbours"
threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not problems, problems
assert "matplotlib.ticker" in sys.modules
"""
AS_A_STEP = "imports.load(getattr(analysis, name).fn.__wrapped__.__wrapped__)"
BY_THEMSELVES = """
        for module in {"analyse_failures": ["matplotlib.patches"], "analyse_neighbours": ["matplotlib.ticker"]}[name]:
            __import__(module)
"""


def run(way):
    return subprocess.run(
        [sys.executable, "-c", TOGETHER.replace("{way}", textwrap.dedent(way).strip().replace("\n", "\n        "))],
        cwd=CHECKOUT, capture_output=True, text=True,
    )  # fmt: skip


def test_two_steps_that_are_the_first_to_draw_load_what_they_need():
    done = run(AS_A_STEP)
    assert done.returncode == 0, done.stderr


def test_two_threads_that_import_by_themselves_fail():
    done = run(BY_THEMSELVES)
    assert "partially initialized module" in done.stderr


def test_what_a_body_imports_is_imported_before_it_runs(monkeypatch):
    from tasks.retrieval.steps import analysis

    loaded = []
    monkeypatch.setattr(imports.importlib, "import_module", loaded.append)
    imports.load(analysis.analyse_neighbours.fn.__wrapped__.__wrapped__)
    assert loaded[0] == "matplotlib"
    assert "tasks.retrieval.findings.neighbours" in loaded


@pytest.mark.timeout(60)
def test_a_step_within_a_step_does_not_wait_for_itself():
    from tasks.retrieval.steps import analysis

    with imports.one_at_a_time():
        imports.load(analysis.analyse_neighbours.fn.__wrapped__.__wrapped__)
