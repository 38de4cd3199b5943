"""The merge of three versions, against a table and against a look at every field on its own."""

import random

import pytest

from deployments.local.three_way import MISSING, merged

A, B, C = 1, [2], None
CASES = {  # base, server, file → server after it, whether both changed
    "nobody": (A, A, A, A, False),
    "a person": (A, B, A, B, False),
    "the file": (A, A, B, B, False),
    "both, the same way": (A, B, B, B, False),
    "both": (A, B, C, B, True),
    "a person adds": (MISSING, B, MISSING, B, False),
    "the file adds": (MISSING, MISSING, B, B, False),
    "both add": (MISSING, B, C, B, True),
    "a person deletes": (A, MISSING, A, MISSING, False),
    "the file deletes": (A, A, MISSING, MISSING, False),
    "a person deletes what the file changes": (A, MISSING, B, MISSING, True),
    "a person changes what the file deletes": (A, B, MISSING, B, True),
    "to null": (A, None, A, None, False),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_field(case):
    base, server, file, value, both = CASES[case]
    versions = [{} if each is MISSING else {"deep": {"field": each}} for each in (base, server, file)]
    found, fields = merged(*versions)
    assert found.get("deep", {}).get("field", MISSING) == value
    assert bool(fields) == both


def _leaves(tree, path=()):
    if isinstance(tree, dict):
        return {key: leaf for name, inner in tree.items() for key, leaf in _leaves(inner, (*path, name)).items()}
    return {path: tree}


def _tree(draw):
    return {
        form: {field: draw.choice([0, 1, [0], [0, 1], None]) for field in "abc" if draw.random() < 0.7} for form in "xy"
    }


def test_every_field_is_merged_on_its_own():
    draw = random.Random(0)
    clashes = 0
    for _ in range(2000):
        base, server, file = (_tree(draw) for _ in range(3))
        found, both = merged(base, server, file)
        old, theirs, ours = (_leaves(tree) for tree in (base, server, file))
        wanted, clashing = {}, set()
        for path in old | theirs | ours:
            values = [leaves.get(path, MISSING) for leaves in (old, theirs, ours)]
            value = values[2] if values[1] == values[0] else values[1]
            if values[1] not in (values[0], values[2]) and values[0] != values[2]:
                clashing.add(".".join(path))
            if value is not MISSING:
                wanted[path] = value
        assert _leaves(found) == wanted
        assert set(both) == clashing
        clashes += len(clashing)
    assert clashes > 1000


def test_what_was_never_registered_is_kept_and_said():
    assert merged(MISSING, {"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ({"a": 1, "b": 2, "c": 4}, ["b"])
