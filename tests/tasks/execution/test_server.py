import http.server
import threading

import pytest
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_API_URL,
    PREFECT_UI_URL,
    temporary_settings,
)

from models.errors import InputError
from tasks.execution.server import flow_run_page, is_embedded, prefect_page, require_server


@pytest.fixture(params=[200, 401, 404])
def web_server(request):
    """A server that is not Prefect's, or one that asks for a login."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield request.param, f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    server.server_close()


def test_a_server_that_answers_is_taken(prefect_server):
    require_server()
    assert not is_embedded()
    assert prefect_page() == f"{PREFECT_API_URL.value().removesuffix('/api')}/v2"


def test_what_is_embedded_needs_no_answer():
    with temporary_settings({PREFECT_API_URL: None}):
        require_server()
        assert is_embedded()
        assert prefect_page() == "http://127.0.0.1:4200/v2"


@pytest.mark.parametrize(
    ("database", "told"),
    [
        ("postgresql+asyncpg://me:secret@127.0.0.1:9/a", "names a database at 127.0.0.1:9, where nothing answers"),
        ("nonsense", "is no address of a database"),
        ("sqlite:////where/prefect.db", "names a database that Prefect cannot use: it begins with neither"),
    ],
)
def test_a_database_that_is_dead_or_wrong_is_one_sentence_where_a_server_is_to_start(database, told):
    with (
        temporary_settings({PREFECT_API_URL: None, PREFECT_API_DATABASE_CONNECTION_URL: database}),
        pytest.raises(InputError, match=r"^PREFECT_SERVER_DATABASE_CONNECTION_URL ") as refused,
    ):
        require_server()
    assert told in str(refused.value)
    assert "secret" not in str(refused.value)


def test_pages_that_are_named_are_taken_as_they_are():
    with temporary_settings({PREFECT_UI_URL: "http://team.example/pages/"}):
        assert flow_run_page("7") == "http://team.example/pages/runs/flow-run/7"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1:9/api", "PREFECT_API_URL=http://127.0.0.1:9/api does not answer"),
        ("http://somebody:secret@127.0.0.1:9/api", "PREFECT_API_URL=http://127.0.0.1:9/api does not answer"),
        ("http://127.0.0.1:9/api?key=secret", "PREFECT_API_URL=http://127.0.0.1:9/api does not answer"),
        ("banana", "PREFECT_API_URL=banana does not answer"),
    ],
)
def test_a_dead_or_wrong_address_is_one_sentence(address, told):
    with temporary_settings({PREFECT_API_URL: address}), pytest.raises(InputError) as refused:
        require_server()
    assert told in str(refused.value)
    assert "secret" not in str(refused.value)


def test_what_answers_otherwise_is_told_apart(web_server):
    code, address = web_server
    with temporary_settings({PREFECT_API_URL: address}):
        if code == 200:
            require_server()
            return
        with pytest.raises(InputError, match="login" if code == 401 else "no Prefect server"):
            require_server()
