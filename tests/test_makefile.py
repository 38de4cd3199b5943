"""`make setup` with a small lock: two packages of the real one."""

import os
import re
import shutil
import subprocess
import sys

from tests.conftest import CHECKOUT

FOREIGN = {  # of another environment, as people have them in their shell
    "PIP_USER": "1",
    "PIP_TARGET": "/nowhere/target",
    "PIP_PREFIX": "/nowhere/prefix",
    "PIP_REQUIRE_HASHES": "1",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PYTHONPATH": "/nowhere",
    "PYTHONHOME": "/nowhere",
    "PYTHONNOUSERSITE": "1",
    "VIRTUAL_ENV": "/nowhere/venv",
}


def test_an_environment_is_made_whatever_the_shell_has_set_and_can_be_moved(tmp_path):
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    shutil.copy(CHECKOUT / "Makefile", checkout)
    lock = (CHECKOUT / "requirements.txt").read_text()
    locked = [re.search(rf"^{name}==.*?(?=^\w)", lock, re.MULTILINE | re.DOTALL).group() for name in ("tabulate", "uv")]
    (checkout / "requirements.txt").write_text("".join(locked))
    command = ["make", "setup", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=checkout, env=os.environ | FOREIGN, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    moved = checkout.rename(tmp_path / "moved")
    script = moved / ".venv" / "bin" / "tabulate"
    done = subprocess.run([script], input="a b", capture_output=True, text=True, check=True)
    assert "a  b" in done.stdout
