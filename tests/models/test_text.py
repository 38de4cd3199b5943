"""Text from outside, made fit to be shown."""

import pytest

from models.errors import LONGEST_SENTENCE, InputError
from models.text import holds_login, one_line, printable, reason, visible, without_logins


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Größe – 28 × 28", "Größe – 28 × 28"),
        ("a\tb\r\n c ", "a b c"),
        ("\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred"),
        ("left\u202etfel", "left\\u202etfel"),
        ("\ud800", "\\ud800"),
        ("nul\0", "nul\\x00"),
        (7, "7"),
        ("", ""),
    ],
)
def test_what_steers_a_display_is_written_out(given, shown):
    assert printable(given) == shown


@pytest.mark.parametrize("most", [3, 10, 100])
@pytest.mark.parametrize("text", ["x" * 11, "\x1b" * 1000, "a b" * 1_000_000])
def test_the_middle_of_a_long_text_is_left_out(text, most):
    shown = printable(text, most)
    assert len(shown) <= most
    assert len(text) <= most or "…" in shown
    assert shown.isprintable()


def test_two_thirds_of_what_is_left_are_its_beginning():
    assert printable("abcdefghijklmnopqrst", 9) == "abcde…rst"


@pytest.mark.parametrize("blanks", [99, 101, 198])
def test_a_text_that_is_short_without_its_blanks_is_shown_whole(blanks):
    """Of more than twice as many characters the middle is left out unseen, since a file may hold megabytes."""
    assert printable("a" + " " * blanks + "b", 100) == "a b"
    assert printable("a" + " " * (100 + blanks) + "b", 100) == "a … b"


def test_a_sentence_to_the_user_is_one_short_line():
    error = InputError("first\n\x1b[31m" + "x" * 10_000 + " choose another.")
    assert len(str(error)) == LONGEST_SENTENCE
    assert str(error).startswith("first \\x1b[31m")
    assert str(error).endswith(" choose another.")


def test_a_text_of_several_lines_keeps_them():
    assert visible("a  b\n\tc\r\x1b[2J\x85\u2028\u2029") == "a  b\n\tc\\r\\x1b[2J\\x85\\u2028\\u2029"


def test_a_whole_text_fits_one_line():
    assert one_line("a\n" * 1000 + "\x00") == "a " * 1000 + "\\x00"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("its shape is impossible."), "its shape is impossible"),
        (KeyError(101), "KeyError"),
        (KeyError("name"), "KeyError"),
        (RuntimeError(("EOF in multi-line statement", (2, 0))), "RuntimeError"),
        (MemoryError(), "MemoryError"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (ValueError("a \x1b[2J b"), "a \\x1b[2J b"),
    ],
)
def test_the_reason_is_words_or_the_kind_of_the_error(error, told):
    assert reason(error) == told


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://me:secret@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("(HTTPConnectionPool to 'http://me:p@ss@h/a@b')", "(HTTPConnectionPool to 'http://h/a@b')"),
        ("ftp://token@h and s3://a:b@bucket/x", "ftp://h and s3://bucket/x"),
        (f"http://me:{'s' * 400}@h", "http://h"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("http://h/?mail=a@b.example", "http://h/?mail=a@b.example"),
        ("mail a@b.example", "mail a@b.example"),
    ],
)
def test_an_address_is_shown_without_its_login(given, shown):
    for show in (printable, one_line, visible, without_logins):
        assert show(given) == shown
    assert holds_login(given) == (given != shown)
