"""Fingerprints of a small project, made anew for each change of it and read by a process of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tasks.execution.fingerprint
import tasks.storage.parsing

STEPS = '''
"""Steps."""
from models.network import build
from tasks.parameters.training import Form
from tasks.stage import figures

CONSTANT = 1


def decorate(function):
    return function


def helper(x):
    """Double."""
    return x * CONSTANT


@decorate
def train(x: Form):
    """Train."""
    return build(helper(x))


@decorate
def plot(x):
    from scipy import stats
    return figures.draw(x), stats
'''
FILES = {
    "models/__init__.py": "",
    "models/network.py": "import numpy\nfrom models.layers import Layer\n\n\ndef build(x):\n    return Layer, numpy\n",
    "models/layers.py": "from models import choices, settings\n\n\nclass Layer:\n    pass\n",
    "models/choices.py": "CHOICES = {'a': 'one'}\n",
    "models/settings.py": "from pydantic import Field\n\nrate = Field(0.1, title='Rate', description='Of learning.')\n",
    "tasks/__init__.py": "",
    "tasks/parameters/__init__.py": "",
    "tasks/parameters/training.py": "class Form:\n    pass\n",
    "tasks/stage/__init__.py": "",
    "tasks/stage/figures.py": "def draw(x):\n    return 'red'\n",
    "tasks/stage/steps.py": STEPS,
}


def _write(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for module in (tasks.execution.fingerprint, tasks.storage.parsing):
        path = folder.joinpath(*module.__name__.split("."))
        path.parent.mkdir(exist_ok=True)
        path.with_name("__init__.py").touch()
        shutil.copy(module.__file__, path.with_suffix(".py"))
    return folder


@pytest.fixture
def project(tmp_path):
    return _write(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    return _fingerprints(_write(tmp_path_factory.mktemp("unchanged")))


def _fingerprints(project: Path) -> dict[str, tuple[dict, dict]]:
    code = (
        "import json, tasks.stage.steps as s; from tasks.execution.fingerprint import fingerprint;"
        "print(json.dumps({f.__name__: fingerprint(f) for f in (s.train, s.plot)}))"
    )
    command = [sys.executable, "-B", "-c", code]
    return json.loads(subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout)


def _edit(project: Path, name: str, old: str, new: str) -> None:
    path = project / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_it_holds_the_modules_and_libraries_that_a_step_reaches(unchanged):
    code, libraries = unchanged["train"]
    assert set(code) == {"tasks.stage.steps:train", "models.network", "models.layers", "models.settings"}
    assert set(libraries) == {"numpy", "pydantic"}
    code, libraries = unchanged["plot"]
    assert set(code) == {"tasks.stage.steps:plot", "tasks.stage.figures"}
    assert set(libraries) == {"scipy"}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("models/network.py", "def build", "# a comment\n\n\ndef build"),
        ("models/layers.py", "    pass", '    """A docstring."""\n\n    pass'),
        ("tasks/stage/steps.py", '"""Double."""', '"""Multiply."""'),
        ("tasks/stage/steps.py", "def helper(x):", "def helper( x ):"),
        ("tasks/stage/steps.py", "@decorate\ndef train", "def train"),
        ("tasks/parameters/training.py", "pass", "field = 1"),
        ("models/choices.py", "one", "another"),
        ("models/settings.py", "Rate", "Pace"),
        ("models/settings.py", "Of learning", "How fast"),
    ],
)
def test_what_cannot_change_the_answer_does_not_count(project, unchanged, name, old, new):
    _edit(project, name, old, new)
    assert _fingerprints(project) == unchanged


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("models/layers.py", "pass", "x = 1", {"train"}),
        ("models/settings.py", "0.1", "0.2", {"train"}),
        ("tasks/stage/steps.py", "CONSTANT = 1", "CONSTANT = 2", {"train"}),
        ("tasks/stage/steps.py", "x * CONSTANT", "x + CONSTANT", {"train"}),
        ("tasks/stage/figures.py", "red", "blue", {"plot"}),
        ("tasks/stage/steps.py", "figures.draw(x), stats", "stats, figures.draw(x)", {"plot"}),
    ],
)
def test_what_can_change_the_answer_counts_for_the_steps_that_reach_it(project, unchanged, name, old, new, changed):
    _edit(project, name, old, new)
    after = _fingerprints(project)
    assert {step for step in after if after[step] != unchanged[step]} == changed


@pytest.mark.parametrize(("finder", "found"), [("__init__.py", "models.nets"), ("build.py", "models.nets.build")])
def test_modules_that_are_imported_by_name_count(project, finder, found):
    _edit(project, "models/layers.py", "choices, settings", "nets" if finder == "__init__.py" else "choices")
    if finder == "build.py":
        _edit(project, "models/layers.py", "import choices", "import choices\nfrom models.nets import build")
    (project / "models/nets").mkdir()
    (project / "models/nets/__init__.py").touch()
    (project / "models/nets" / finder).write_text("from importlib import import_module\nmake = import_module\n")
    (project / "models/nets/small.py").write_text("width = 1\n")
    before = _fingerprints(project)
    assert {found, "models.nets.small"} <= set(before["train"][0])
    _edit(project, "models/nets/small.py", "1", "2")
    after = _fingerprints(project)
    assert {step for step in before if before[step] != after[step]} == {"train"}


def test_data_files_that_a_module_names_count(project):
    _edit(project, "models/layers.py", "pass", "page, prompts, kind = 'page.html', 'prompts', 'models'")
    names = ("page.html", "prompts/long.yaml", "prompts/deep/short.yaml", "other.html")
    half_written = "prompts/__pycache__/part.cpython-311.pyc.140234"  # as Python leaves it for a moment
    for name in (*names, half_written):
        path = project / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("words")
    before = _fingerprints(project)
    assert set(before["train"][0]) == {
        "tasks.stage.steps:train", "models.network", "models.layers", "models.settings",
        "models.layers:page.html", "models.layers:prompts/long.yaml", "models.layers:prompts/deep/short.yaml",
    }  # fmt: skip
    for name, counts in (("page.html", True), ("prompts/deep/short.yaml", True), ("other.html", False)):
        _edit(project, f"models/{name}", "words", "other words")
        after = _fingerprints(project)
        assert (after["train"] != before["train"]) is counts
        before = after
