"""Every command of the documents that starts a flow is one that its forms take."""

import importlib
import re
import shlex

import pytest

from flows.support.shell import parse
from tests.conftest import CHECKOUT

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
COMMAND = re.compile(r"python -m flows\.(\w+)((?: (?:[^`\n#\\]|\\\n)+)?)")


def _commands():
    for page in PAGES:
        for found in COMMAND.finditer(page.read_text()):
            words = shlex.split(found[2].replace("\\\n", " "))
            yield pytest.param(found[1], words, id=f"{page.stem}: {found[1]} {' '.join(words)}"[:80])


@pytest.mark.parametrize(("name", "words"), _commands())
def test_a_command_of_the_documents_is_taken(name, words):
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    if "--help" in words:
        words.remove("--help")  # which ends the process
    assert parse(flow, words)


def test_there_are_commands_of_every_flow_that_a_person_starts():
    named = {parameters.values[0] for parameters in _commands()}
    assert named >= {"pipeline", "classification", "sweep", "champion", "retrieval", "search", "add", "cases"}
