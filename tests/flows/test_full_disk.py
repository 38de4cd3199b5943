"""A disk that runs full in mid-run: one sentence, and the next run goes on."""

import importlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from uuid import UUID

import pytest
from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from sqlalchemy import event
from sqlalchemy.engine import Engine

from flows.support.shell import main
from models.errors import LONGEST_SENTENCE
from models.text import printable
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.dataset import DatasetParameters
from tasks.tracking import runs
from tests.conftest import CHECKOUT

WITHIN_A_RUN = """
import sys
from flows.support.shell import main
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from tasks.tracking import runs
from tasks.execution.plain_words import in_plain_words
from tasks.storage.locations import outputs
from tasks.parameters.dataset import DatasetParameters

ballast = outputs() / "ballast"

def fill():
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2

@flow
@in_plain_words
def write(dataset: DatasetParameters = DatasetParameters()) -> None:
    "Write to one of the databases until it takes no more."
    with runs.tracked_run("classification", {"dataset": dataset}) as run:
        if dataset.path:
            fill()
        for number in range(500 if dataset.path else 1):
            if dataset.path == "prefect":
                create_markdown_artifact("x" * 100_000, key="long")
            else:
                runs.log_tags(run, {f"tag{number}": "x" * 5_000})

print(main(write, ["--dataset.path", "mlflow"]))
ballast.unlink()
print(main(write, ["--dataset.path", "prefect"]))
ballast.unlink()
print(main(write, []))
"""


def test_a_disk_that_runs_full_under_a_database_is_one_sentence_and_the_next_run_goes_on(tmp_path):
    """Under MLflow's, which this process writes, and under that of the embedded server, which answers 500."""
    words = [shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    mount = f"mount -t tmpfs -o size=130m tmpfs {tmp_path}"
    try:
        subprocess.run([*words, mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small file system can be made here: {error}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    program = tmp_path.with_suffix(".py")
    program.write_text(WITHIN_A_RUN)
    done = subprocess.run(
        [*words, f"{mount} && exec {sys.executable} {program}"],
        cwd=tmp_path.parent,
        env=kept | {"PYTHONPATH": str(CHECKOUT), "OUTPUTS": str(tmp_path / "outputs")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.stdout.split() == ["2", "2", "0"], done.stderr
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 2
    for line in told:
        assert line.startswith(f"error: {tmp_path / 'outputs'} cannot be written (No space left on device): make room")
        assert len(line) <= LONGEST_SENTENCE + len("error: ")


@flow
@in_plain_words
def remember(dataset: DatasetParameters = DatasetParameters()) -> None:  # noqa: B008
    """Log more than a page."""
    seen.append(UUID(str(flow_run.id)))
    with runs.tracked_run("classification", {"dataset": dataset}) as run:
        for number in range(20):
            runs.log_tags(run, {f"tag{number}": "x" * 4_000})


seen: list[UUID] = []


limited: list[sqlite3.Connection] = []


def _take_no_more(connection, _):
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    limited.append(connection)


@pytest.mark.usefixtures("prefect_server")
def test_what_a_database_says_is_the_sentence_of_the_shell_and_of_the_state(outputs, capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", True)  # the shell sets it
    event.listen(Engine, "connect", _take_no_more)
    try:
        assert main(remember, []) == 2
    finally:
        event.remove(Engine, "connect", _take_no_more)
    sentence = (
        f"The database {printable(outputs / 'mlflow.db')} cannot be written (database or disk is full): make room "
        "there, or give write access, or name another place with MLFLOW_TRACKING_URI; then run again: what was "
        "finished is kept."
    )
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    with get_client(sync_client=True) as client:
        message = client.read_flow_run(seen[-1]).state.message
    assert captured.err.splitlines()[-1] == f"error: {sentence}"
    assert message.endswith(sentence)
    for connection in limited:  # which MLflow keeps
        connection.execute("PRAGMA max_page_count = 1000000")
    assert main(remember, []) == 0
    for thread in threading.enumerate():
        if thread.name == "warm-up":
            thread.join()


def test_every_flow_says_such_errors_in_plain_words():
    modules = [importlib.import_module(f"flows.{file.stem}") for file in (CHECKOUT / "flows").glob("[!_]*.py")]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, Flow)]
    assert len(found) >= 9
    for each in found:
        assert each.fn.__wrapped__.__name__ == each.fn.__name__
