import os
import subprocess
import sys

import pytest

from deployments.page.settings import LOOPBACK_NAMES, page_settings
from models.errors import InputError
from tests.conftest import CHECKOUT

LOGIN = {"PAGE_LOGIN": "ward:long enough"}


def test_without_variables_it_listens_on_loopback_and_needs_no_login():
    settings = page_settings({"PAGE_LOGIN": "", "PAGE_HOST": ""})
    assert (settings.host, settings.login, settings.names) == ("127.0.0.1", None, LOOPBACK_NAMES)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_no_login(host):
    assert page_settings({"PAGE_HOST": host}).login is None
    assert page_settings({"PAGE_HOST": host} | LOGIN).login == LOGIN["PAGE_LOGIN"]


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.5", "xrays.example", "localhost.example", "127.0.0.1.example"]
)
def test_elsewhere_a_login_is_needed(host):
    with pytest.raises(InputError, match="needs a login: set PAGE_LOGIN=user:password"):
        page_settings({"PAGE_HOST": host, "PAGE_NAMES": "xrays.example"})
    settings = page_settings({"PAGE_HOST": host, "PAGE_NAMES": "XRAYS.example, 10.0.0.6"} | LOGIN)
    assert settings.names == LOOPBACK_NAMES | {"xrays.example", "10.0.0.6", host}


@pytest.mark.parametrize("login", ["nurse", "nurse:", ":long enough", "nurse:short"])
def test_a_wrong_login_is_refused_and_not_told(login):
    with pytest.raises(InputError, match="PAGE_LOGIN is no login") as error:
        page_settings({"PAGE_LOGIN": login})
    assert "nurse" not in str(error.value)
    assert "short" not in str(error.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_who_listens_everywhere_says_by_which_names(host):
    with pytest.raises(InputError, match="set PAGE_NAMES=xrays"):
        page_settings({"PAGE_HOST": host} | LOGIN)


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "١٢"])
def test_a_wrong_port_is_refused(port):
    with pytest.raises(InputError, match=r"^PAGE_PORT=.* is not a port: give a number from 1 to 65535\.$"):
        page_settings({"PAGE_PORT": port})


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "http://127.0.0.1:81"), ("::", "http://[::1]:81"), ("10.0.0.5", "http://10.0.0.5:81")],
)
def test_it_is_reached_from_its_own_machine(host, address):
    assert page_settings({"PAGE_HOST": host, "PAGE_PORT": "81", "PAGE_NAMES": "x"} | LOGIN).address == address


def test_it_does_not_start_elsewhere_without_a_login(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "deployments.page"],
        cwd=CHECKOUT,
        env=os.environ | {"PAGE_HOST": "0.0.0.0", "OUTPUTS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: PAGE_HOST=0.0.0.0 opens the page")
    assert len(done.stderr.splitlines()) == 1
