"""Flows on odd machines, each in a process of its own; those that ask alike start at once."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.errors import LONGEST_SENTENCE
from tests.conftest import CHECKOUT

# What libraries ask the account and its home for: Prefect's and MLflow's import, PyTorch's export, matplotlib, UMAP.
WITHOUT_ACCOUNT = """
import getpass, os, sys
import flows
from pathlib import Path
import prefect.main, mlflow, matplotlib
from torch._inductor.runtime.cache_dir_utils import default_cache_dir
from numba.core.caching import UserWideCacheLocator
import tasks.data.catalogue
default_cache_dir()
folder = Path(os.environ["OUTPUTS"])
assert folder in Path(matplotlib.get_cachedir()).parents, matplotlib.get_cachedir()
Path.home(), getpass.getuser()
locator = UserWideCacheLocator.from_function(WITHIN, WITHIN.__code__.co_filename)
assert locator is not None
assert folder in Path(locator.get_cache_path()).parents, locator.get_cache_path()
print(os.getuid(), getpass.getuser())
"""


def _run(folder, variables, *words):
    return subprocess.run(
        [*words],
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": str(CHECKOUT), "OUTPUTS": str(folder / "outputs")} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )


def _unshare(*options):
    """Words that start a command with another user or other mounts, where the machine allows it."""
    words = [shutil.which("unshare") or "unshare", "--user", *options]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no user namespaces here: {error}")
    return words


WRONG = [
    (".env", "PREFECT_API_URL=http://127.0.0.1:9/api", "PREFECT_API_URL=http://127.0.0.1:9/api does not answer"),
    ("prefect.toml", '[api]\nurl = "http://127.0.0.1:9/api"', "PREFECT_API_URL=http://127.0.0.1:9/api does not"),
    ("prefect.toml", "[api", "a setting of Prefect is wrong (Failed to load Prefect settings from prefect.toml"),
    (".env", "PREFECT_LOGGING_LEVEL=loud", "a setting of Prefect is wrong (LoggingSettings: level"),
]


def test_what_a_file_of_the_working_folder_sets_wrongly_is_one_sentence(tmp_path):
    def run(number):
        file, content, _ = WRONG[number]
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / file).write_text(content)
        return _run(folder, {"HOME": str(folder)}, sys.executable, "-m", "flows.champion")

    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(run, range(len(WRONG))))
    for (_, _, told), done in zip(WRONG, ended, strict=True):
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(f"error: {told}")
        assert len(done.stderr.splitlines()) == 1
        assert len(done.stderr) < LONGEST_SENTENCE + 10
        assert done.stdout == ""


def test_no_account_and_no_home_are_needed(tmp_path):
    """As under `docker run --user 12345`, which sets HOME to a folder that cannot be written, or not at all."""
    other = _unshare("--map-user=12345", "--map-group=12345")

    def run(name, home):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "program.py").write_text("def WITHIN(): pass\n" + WITHOUT_ACCOUNT)
        return _run(folder, home, *other, sys.executable, "program.py")

    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(run, ("none", "closed"), ({}, {"HOME": "/proc/nobody"})))
    for done in ended:
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["12345", "12345"]
        assert done.stderr == ""


@pytest.mark.parametrize("words", ["flows.champion", "deployments.local.services up"])
def test_a_full_disk_is_one_sentence(tmp_path, words):
    (tmp_path / "outputs").mkdir()
    small = f"mount -t tmpfs -o size=5m tmpfs {tmp_path}/outputs && exec {sys.executable} -m {words}"
    done = _run(tmp_path, {"HOME": str(tmp_path)}, *_unshare("--map-root-user", "--mount"), "bash", "-c", small)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: The disk under {tmp_path / 'outputs'} has 5 MB left")
    assert len(done.stderr.splitlines()) == 1
