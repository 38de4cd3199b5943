"""Sentences to the user: what the code words itself leaves room for what it quotes."""

import ast
from collections.abc import Iterator
from pathlib import Path

from models.errors import LONGEST_SENTENCE, InputError, keep_printable
from models.text import SHORT

PROJECT = Path(__file__).parents[2]


def sentences() -> Iterator[tuple[str, int, int]]:
    """Where each sentence stands, the characters of its own wording, and how many values it quotes."""
    for package in ("models", "tasks", "flows", "deployments"):
        for file in (PROJECT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in ("InputError", "DiskError")
                ):
                    parts = list(ast.walk(node))
                    words = [part.value for part in parts if isinstance(part, ast.Constant)]
                    quoted = sum(isinstance(part, ast.FormattedValue) for part in parts)
                    yield f"{file}:{node.lineno}", sum(len(word) for word in words if isinstance(word, str)), quoted


def test_a_sentence_leaves_room_for_a_path():
    found = list(sentences())
    assert len(found) > 150
    for where, words, quoted in found:
        assert words + SHORT * bool(quoted) <= LONGEST_SENTENCE, where


def test_the_message_of_a_library_becomes_short_and_printable():
    error = ValueError("\x1b[31mname" + "x" * 100_000, 7)
    keep_printable(error)
    assert error.args[0].startswith("\\x1b[31mnamexxx")
    assert len(error.args[0]) == LONGEST_SENTENCE
    assert error.args[1] == 7
    sentence = str(InputError("a\x00b"))
    mistake = InputError("a\x00b")
    keep_printable(mistake)
    assert str(mistake) == sentence == "a\\x00b"
