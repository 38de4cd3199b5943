"""Windows and macOS, from what they lack."""

import platform
import subprocess
import sys

import pytest

from models import operating_system
from tests.conftest import CHECKOUT

HIDE = f"""
import sys
import psutil  # which asks for them itself, but on Unix only
sys.modules |= dict.fromkeys({(*operating_system.UNIX_ONLY, "pwd", "grp", "termios", "pty", "tty", "syslog")!r})
"""
STARTS = {
    "a flow": "import flows",
    "make up": "import runpy; sys.argv = ['', 'up']; runpy.run_module('deployments.local.services', None, '__main__')",
}


@pytest.mark.parametrize("start", STARTS)
def test_without_the_modules_of_unix_there_is_one_sentence(start, tmp_path):
    """As on Windows, which has none of them."""
    done = subprocess.run(
        [sys.executable, "-c", HIDE + STARTS[start]],
        cwd=CHECKOUT,
        env={"PATH": "", "OUTPUTS": str(tmp_path), "USERNAME": "somebody", "HOME": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: this runs on Linux and macOS, since Python has no module fcntl here: on Windows"
    )
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_differs_is_said_on_macos_only(monkeypatch):
    assert operating_system.difference() is None
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    said = operating_system.difference()
    assert said is not None and said.startswith("note: on macOS nothing is tested")
    assert len(said) <= 300
