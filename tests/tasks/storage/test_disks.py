"""Which disk an error came from: found by trying the disks, and by what the error and its causes say."""

import os
import shutil
import sqlite3
import subprocess
import sys

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from models.errors import LONGEST_SENTENCE, DiskError
from tasks.storage.disks import disk_error
from tasks.storage.store import DamagedFileError, Store
from tests.conftest import CHECKOUT

TAKES_NO_MORE = """
import resource, sys
from tasks.storage.disks import disk_error
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
print(disk_error(RuntimeError("PytorchStreamWriter failed writing file data/0")))
"""
BEFORE_A_RUN = """
from tasks.storage.disks import require_room
try:
    require_room()
except ValueError as error:
    print(error)
"""


def _say(program, outputs, *words):
    command = [*words, sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ | {"OUTPUTS": str(outputs)}, capture_output=True, text=True, check=True
    )
    return done.stdout.rstrip("\n")


def test_an_error_in_the_words_of_any_library_is_one_of_the_disk_that_takes_no_more(outputs):
    """`ulimit -f` refuses what is written, as a full disk and a quota do."""
    said = _say(TAKES_NO_MORE, outputs)
    assert said.startswith(f"{outputs} cannot be written (File too large): make room there, or give write access")
    assert said.endswith("with OUTPUTS=dir; then run again: what was finished is kept.")
    assert sorted(path.name for path in outputs.iterdir()) == ["mlflow.db"]  # what was tried is gone


def test_a_read_only_disk_is_told_before_a_run(tmp_path):
    (tmp_path / "outputs").mkdir()
    mount = f'mount -t tmpfs -o ro tmpfs {tmp_path}/outputs && exec "$@"'
    words = [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount", "bash", "-c", mount, "_"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no read-only file system can be made here: {error}")
    said = _say(BEFORE_A_RUN, tmp_path / "outputs", *words)
    assert said.startswith(
        f"{tmp_path / 'outputs'} cannot be written (Read-only file system): make room there, or give"
    )


def test_a_database_that_cannot_be_written_is_told_before_a_run(outputs):
    (outputs / "mlflow.db").chmod(0o444)
    others = [] if os.geteuid() else ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]  # root without its powers
    if others and shutil.which("setpriv") is None:
        pytest.skip("root can write every file, and setpriv, which takes that from it, is not here")
    said = _say(BEFORE_A_RUN, outputs, *others)
    assert said.startswith(f"{outputs / 'mlflow.db'} cannot be written (Permission denied): make room there, or give")
    assert "MLFLOW_TRACKING_URI" in said


def _write_read_only(database):
    MlflowClient(f"sqlite:///file:{database}?mode=ro&uri=true").create_experiment("x")


def _write_without_its_folder(database):
    sqlite3.connect(database.parent / "absent" / "mlflow.db")


@pytest.mark.parametrize(
    ("write", "raised", "reason"),
    [
        (_write_read_only, MlflowException, "attempt to write a readonly database"),
        (_write_without_its_folder, sqlite3.OperationalError, "unable to open database file"),
    ],
)
def test_what_a_database_says_counts_where_the_disks_take_something(outputs, write, raised, reason):
    with pytest.raises(raised) as caught:
        write(outputs / "mlflow.db")
    said = disk_error(caught.value)
    assert isinstance(said, DiskError)
    assert f"({reason})" in str(said)
    assert len(str(said)) <= LONGEST_SENTENCE


def _write(store, stored):
    store.put(b"another", "text/markdown")


def _read(store, stored):
    store.get(stored)


@pytest.mark.parametrize(
    ("act", "instead", "said"),
    [
        (_write, "a file", "cannot be used (Not a directory)"),
        (_read, "a file", "is missing from the store"),
        (_read, None, "is missing from the store"),
    ],
)
def test_a_store_that_is_gone_in_mid_run_is_told(outputs, act, instead, said):
    store = Store()
    stored = store.put(b"content", "text/markdown")
    shutil.rmtree(outputs / "store")
    if instead:
        (outputs / "store").write_text(instead)
    with pytest.raises((OSError, DamagedFileError)) as caught:
        act(store, stored)
    told = disk_error(caught.value)
    assert isinstance(told, DiskError)
    assert said in str(told)
    assert str(told).endswith("and run again; what was finished is kept.")


def test_what_is_missing_elsewhere_is_no_matter_of_disks(outputs, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "absent").read_bytes()
    assert disk_error(caught.value) is None


def test_errors_that_led_to_each_other_in_a_ring_are_told_apart(outputs):
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert disk_error(first) is None
