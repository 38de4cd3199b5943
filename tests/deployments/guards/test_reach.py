import pytest

from deployments.guards.reach import server_names
from models.errors import InputError
from tasks.execution.own_pages import LOOPBACK_NAMES

ELSEWHERE = ["0.0.0.0", "::", "10.0.0.5", "servers.example", "localhost.example", "127.0.0.1.example", ""]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_login(host):
    assert server_names(host, has_login=False, login="-", variables={"SERVER_NAMES": "a"}) == LOOPBACK_NAMES


@pytest.mark.parametrize("host", ELSEWHERE)
def test_elsewhere_a_login_is_needed(host):
    with pytest.raises(InputError, match="needs a login: set A=b, or listen on"):
        server_names(host, has_login=False, login="set A=b", variables={"SERVER_NAMES": "a"})
    names = server_names(host, has_login=True, login="-", variables={"SERVER_NAMES": " A.example, 10.0.0.6"})
    assert names == LOOPBACK_NAMES | {"a.example", "10.0.0.6", host}


def test_on_all_addresses_names_are_needed():
    with pytest.raises(InputError, match="set SERVER_NAMES="):
        server_names("0.0.0.0", has_login=True, login="-", variables={"SERVER_NAMES": ""})
    assert server_names("10.0.0.5", has_login=True, login="-", variables={}) == LOOPBACK_NAMES | {"10.0.0.5"}
