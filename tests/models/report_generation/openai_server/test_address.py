import re

import pytest

from models.errors import InputError
from models.report_generation.openai_server.address import (
    PATTERN,
    is_loopback,
    is_readable_on_the_way,
    normalised,
)


@pytest.mark.parametrize(
    ("given", "one"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("HTTP://LocalHost:8000/v1/", "http://localhost:8000/v1"),
        ("http://localhost:8000", "http://localhost:8000/v1"),
        (" https://api.example.org:443/v1 ", "https://api.example.org/v1"),
        ("http://h:80", "http://h/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("https://eu.example.com/v1/projects/p/locations/l/endpoints/7", None),
    ],
)
def test_an_address_has_one_spelling(given, one):
    found = normalised(given)
    assert found == (one or given)
    assert normalised(found) == found
    assert re.fullmatch(PATTERN, found)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("http://me:s3cr3t@h:8000/v1", "holds a login"),
        ("http://s3cr3t@h/v1", "holds a login"),
        ("https://h/v1?key=s3cr3t", "goes on with a query"),
        ("https://h/v1#s3cr3t", "goes on with a query"),
        ("localhost:8000", "no address of a server"),
        ("ftp://h/v1", "no address of a server"),
        ("http:///v1", "no address of a server"),
        ("http://a b/v1", "no address of a server"),
        ("http://h:99999/v1", "cannot be read"),
        ("http://[::1/v1", "cannot be read"),
        ("", "no address of a server"),
    ],
)
def test_what_is_none_or_holds_a_secret_is_one_sentence_without_the_secret(given, told):
    with pytest.raises(InputError, match=told) as raised:
        normalised(given)
    assert "s3cr3t" not in str(raised.value)
    assert "http://127.0.0.1:8000/v1" in str(raised.value) or "--reports.key_block" in str(raised.value)


@pytest.mark.parametrize(
    ("address", "loopback", "readable"),
    [
        ("http://127.0.0.1:8000/v1", True, False),
        ("http://127.1.2.3/v1", True, False),
        ("http://[::1]/v1", True, False),
        ("http://localhost/v1", True, False),
        ("http://vllm:8000/v1", False, True),
        ("http://10.0.0.7/v1", False, True),
        ("http://localhost.evil.example/v1", False, True),
        ("https://api.example.org/v1", False, False),
    ],
)
def test_what_others_can_read_on_the_way(address, loopback, readable):
    assert (is_loopback(address), is_readable_on_the_way(address)) == (loopback, readable)
