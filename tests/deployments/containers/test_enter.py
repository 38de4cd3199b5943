import os
import subprocess
import sys

import pytest

from deployments.containers.enter import secrets
from tasks.storage.locations import HEARTBEAT_SECONDS
from tests.conftest import CHECKOUT


def _enter(command, variables):
    return subprocess.run(
        [sys.executable, "-m", "deployments.containers.enter", *command],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=400,
    )


def test_a_file_becomes_the_variable_that_its_name_says(tmp_path):
    (tmp_path / "secret").write_text("user:a b$c\n")
    found = secrets({"API_AUTH_STRING_FROM_FILE": str(tmp_path / "secret"), "SSL_CERT_FILE": "/nowhere"})
    assert found == {"API_AUTH_STRING": "user:a b$c"}


@pytest.mark.parametrize(("content", "told"), [(None, "cannot be read"), (b"\n", "empty"), (b"\xff", "not text")])
def test_a_secret_that_is_not_there_is_one_sentence_and_exit_code_2(tmp_path, content, told):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    done = _enter(["true"], {"KEY_FROM_FILE": str(path)})
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: KEY_FROM_FILE names {path}, which")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_has_the_secrets_and_the_settings_of_the_project(tmp_path):
    (tmp_path / "secret").write_text("hidden")
    names = ("KEY", "PREFECT_RESULTS_LOCAL_STORAGE_PATH", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY")
    program = f"import os; print(*(os.environ[name] for name in {names}))"
    variables = {"KEY_FROM_FILE": str(tmp_path / "secret"), "OUTPUTS": str(tmp_path / "shared")}
    done = _enter([sys.executable, "-c", program], variables)
    assert done.stdout.split() == ["hidden", str(tmp_path / "shared" / "results"), str(HEARTBEAT_SECONDS)]


def test_the_exit_code_is_the_commands():
    assert _enter([sys.executable, "-c", "raise SystemExit(7)"], {}).returncode == 7


@pytest.mark.parametrize("command", [[], ["no-such-program"]])
def test_a_command_that_is_none_is_one_sentence_and_exit_code_2(command):
    done = _enter(command, {})
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
