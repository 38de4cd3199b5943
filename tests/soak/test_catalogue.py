import importlib

import pytest

from flows.support.shell import parse
from tests.soak.catalogue import CHAMPION, INBOX, TRIALS

PROGRAMS = {program.name: program for _, program in TRIALS.values()} | {each.name: each for each in (CHAMPION, INBOX)}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_the_forms_of_a_program_are_taken_by_its_flow(program):
    module = importlib.import_module(program.module)
    words = [word.replace("{material}", "/material") for word in program.words]
    assert parse(getattr(module, program.module.rpartition(".")[2]), words)
