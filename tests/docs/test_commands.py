"""Every command of the documents that starts a flow is one that its forms take; Prefect's own are told the server."""

import importlib
import re
import shlex

import pytest

from flows.support.shell import parse
from tests.conftest import CHECKOUT

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
COMMAND = re.compile(r"python -m flows\.(\w+)((?: (?:[^`\n#\\]|\\\n)+)?)")

BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
OF_PREFECT = re.compile(r"^(?:\w+=\S+ )*(?:\S*/)?prefect [a-z-]+ ", re.MULTILINE)


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_command_of_prefect_names_the_server(page):
    """Else it asks a server of its own, which knows no deployment."""
    for block in BLOCK.findall(page.read_text()):
        of_prefect = OF_PREFECT.search(block)
        assert of_prefect is None or 0 <= block.find("PREFECT_API_URL=") < of_prefect.end(), block
