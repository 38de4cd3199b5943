import asyncio
import contextlib
import socket
import time

import pytest

from models.errors import InputError
from models.report_generation.openai_server import connection as module
from models.report_generation.openai_server.connection import RETRIES, UNREADABLE_TRIES, Connection
from models.report_generation.openai_server.exchange import Prompt, RefusedError, request
from tests.support.openai_stand_in import MODEL, drop, half, page, slow, stand_in, status, unmeasured_half

BODY = request(MODEL, Prompt("Report."))
KEY = "sk-canary-0123456789"


def chat(server, key=None, **options):
    async def run():
        async with Connection(server.url, key, **options) as connection:
            return await connection.chat(BODY)

    return asyncio.run(run())


def once(fault):
    return lambda body, before: fault if before == 0 else None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "fault",
    [status(429, "slow down"), status(500), status(503), status(408), drop, half, unmeasured_half, page],
    ids=["429", "500", "503", "408", "dropped", "half an answer", "half, of unknown length", "a web page"],
)
def test_what_passes_by_itself_is_tried_again(fault):
    with stand_in(fault=once(fault)) as server:
        assert chat(server)["choices"][0]["message"]["content"]
    assert len(server.asked) == 2


def test_the_server_says_how_long_to_wait():
    with stand_in(fault=once(status(429, "slow down", Retry_After="0.7"))) as server:
        started = time.monotonic()
        chat(server)
    assert time.monotonic() - started >= 0.7  # without it, half a second at most


@pytest.mark.usefixtures("quick")
def test_a_slow_answer_is_asked_for_again_and_then_given_up(monkeypatch):
    monkeypatch.setattr(module, "READ_SECONDS", 1.0)
    with stand_in(fault=once(slow(60))) as server:
        assert chat(server)
    with stand_in(fault=lambda body, before: slow(60)) as server, pytest.raises(RefusedError, match="too long"):
        chat(server, retries=1)
    assert len(server.asked) == 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "told", "tries"),
    [
        (status(400, "the image\n\x1b[31mis too small"), r"^400: the image \\x1b\[31mis too small$", 1),
        (status(422, "no"), "^422: no$", 1),
        (status(500, "the grammar failed"), "^500: the grammar failed$", RETRIES + 1),
        (page, "no JSON was answered: <html>Welcome</html>", UNREADABLE_TRIES),
        (lambda handler: handler.answer(200, b"[" * 100_000), r"no JSON was answered: \[+…\[+$", UNREADABLE_TRIES),
    ],
)
def test_what_does_not_pass_is_told_in_the_servers_words(fault, told, tries):
    with stand_in(fault=lambda body, before: fault) as server, pytest.raises(RefusedError, match=told):
        chat(server)
    assert len(server.asked) == tries


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (status(401, "wrong key"), r"does not accept the key: .*--reports\.key_block .*401: wrong key"),
        (status(403, "not yours"), "does not allow this with the key.*403: not yours"),
        (status(404, "no such model"), "knows no such model or address.*404: no such model"),
        (status(429, "quota"), r"takes no more requests: lower --reports\.at_once.*429: quota"),
        (status(429, "tomorrow", Retry_After="86400"), "takes no more requests.*tomorrow"),
        (status(307, Location="https://elsewhere.example/v1"), "sends requests on to https://elsewhere.example/v1"),
        (drop, "cannot be reached"),
    ],
)
def test_what_no_other_row_would_pass_either_ends_the_run_in_one_sentence(fault, told):
    with stand_in(fault=lambda body, before: fault) as server, pytest.raises(InputError, match=told):
        chat(server)


@pytest.mark.usefixtures("quick")
def test_a_server_that_is_not_there_is_one_sentence():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with (
        stand_in() as server,
        pytest.raises(InputError, match=r"cannot be reached .*start it, or mend --reports.server"),
    ):
        server.url = url
        chat(server)


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
@pytest.mark.parametrize("key", [None, KEY])
def test_only_the_named_key_is_sent_and_nothing_that_is_meant_for_openai_itself(monkeypatch, variable, key):
    monkeypatch.setenv(variable, "meant-for-openai")
    with stand_in(key=key) as server:
        chat(server, key)
    (headers,) = ({name.lower(): value for name, value in each.items()} for each in server.headers)
    assert headers.get("authorization") == (key and f"Bearer {key}")
    assert "meant-for-openai" not in str(headers)


@pytest.mark.usefixtures("quick")
def test_a_key_that_the_server_quotes_is_not_repeated():
    with stand_in(key="another") as server, pytest.raises(InputError) as raised:
        chat(server, KEY)
    assert "Incorrect API key provided: (key)" in str(raised.value)
    error: BaseException | None = raised.value
    while error is not None:
        assert KEY not in f"{error!r}{vars(error)}"
        error = error.__cause__


def test_a_proxy_is_not_asked_for_a_server_of_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with stand_in() as server:
        assert chat(server)
