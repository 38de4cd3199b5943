import http.server
import os
import threading
import urllib.request

import httpx
import pytest
import requests

from models.errors import InputError
from tasks.storage.proxies import loopback_without_proxy, require_proxies

NO_WAY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    for kind in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(kind, raising=False)
        monkeypatch.delenv(kind.upper(), raising=False)


def test_without_a_proxy_nothing_is_set():
    assert loopback_without_proxy() == {}


def test_what_a_person_has_listed_stays(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", NO_WAY)
    monkeypatch.setenv("NO_PROXY", ".example.com, localhost")
    expected = ".example.com,localhost,127.0.0.1,::1"
    assert loopback_without_proxy() == {"no_proxy": expected, "NO_PROXY": expected}


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_every_client_reaches_this_machine(monkeypatch, variable):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(urllib.request, "_opener", None)  # else one with these proxies is the process's from now on
    monkeypatch.setenv(variable, NO_WAY)
    for name, value in loopback_without_proxy().items():
        monkeypatch.setenv(name, value)
    for host in ("127.0.0.1", "localhost"):
        address = f"http://{host}:{server.server_port}"
        assert httpx.get(address).status_code == 204  # Prefect's
        assert requests.get(address, timeout=10).status_code == 204  # MLflow's
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.status == 204
    server.shutdown()
    server.server_close()
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://example.invalid")  # goes to the proxy
    assert variable in os.environ


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "socksio"),
        ({"HTTP_PROXY": "ftp://127.0.0.1:9"}, "cannot be used"),
        ({"HTTP_PROXY": NO_WAY, "NO_PROXY": "[::1]"}, "cannot be used"),
    ],
)
def test_what_no_client_can_use_is_one_sentence(monkeypatch, variables, told):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=told):
        require_proxies()
