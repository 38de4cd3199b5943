import socket

import pytest

from models.errors import InputError
from tasks.storage.database_servers import require_database


@pytest.mark.parametrize(
    "url", ["sqlite:////where/file.db", "sqlite+aiosqlite:////where", "postgresql:///of?host=/run", "oracle://host/db"]
)
def test_files_sockets_and_what_has_no_known_port_are_not_asked(url):
    require_database(url, "SETTING")


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg", "mysql+pymysql"])
def test_a_server_is_asked_whether_it_is_there(scheme):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"{scheme}://me:secret@127.0.0.1:{server.getsockname()[1]}/name"
        require_database(url, "SETTING")
    with pytest.raises(
        InputError, match=r"^SETTING names a database at 127.0.0.1:\d+, where nothing .*: start it"
    ) as no:
        require_database(url, "SETTING")
    assert "secret" not in str(no.value)


def test_without_a_port_the_one_of_its_kind_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "create_connection", lambda place, seconds: asked.append(place) or socket.socket())
    for url in ("postgresql://h/a", "mysql://h/a", "mssql+pyodbc://h/a"):
        require_database(url, "SETTING")
    assert asked == [("h", 5432), ("h", 3306), ("h", 1433)]


@pytest.mark.parametrize(
    "url", ["nonsense", "", "postgresql://me:secret@host:port/a", "postgresql://me:secret@a..b:1/a"]
)
def test_what_is_no_address_is_one_sentence(url):
    with pytest.raises(InputError, match=r"^SETTING (is no address of a database|names a database at)") as refused:
        require_database(url, "SETTING")
    assert "secret" not in str(refused.value)
