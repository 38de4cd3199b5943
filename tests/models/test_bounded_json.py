import pytest

from models.bounded_json import parse_json
from models.bounds import JSON_DEPTH


def test_a_value_comes_back():
    assert parse_json(b'{"a": [1, null, "\xc3\xa4"]}') == {"a": [1, None, "ä"]}
    assert parse_json("5") == 5
    deepest = parse_json("[" * JSON_DEPTH + "]" * JSON_DEPTH)
    for _ in range(JSON_DEPTH - 1):
        (deepest,) = deepest
    assert deepest == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff", "decode"),
        (b"9" * 5000, "digits"),
        (b"[" * (JSON_DEPTH + 1) + b"]" * (JSON_DEPTH + 1), "nested deeper than 100"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested deeper than 100"),
        (b"[" * 1_000_000, "nested deeper than 100"),
        (b"[" + b"1," * 50 + b"1]", "holds 103 bytes of JSON, more than 100"),
    ],
)
def test_what_is_damaged_deep_or_long_is_a_value_error(content, reason):
    most = 100 if b"1,1" in content else 2**24
    with pytest.raises(ValueError, match=reason):
        parse_json(content, most)
