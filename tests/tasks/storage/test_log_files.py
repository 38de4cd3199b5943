import subprocess
import sys

import pytest

from tasks.storage.log_files import keep_small, rotate, rotate_all
from tests.e2e.services import wait_for
from tests.server_logs import ServerLogs


def test_a_small_log_and_none_stay_as_they_are(tmp_path):
    log = tmp_path / "mlflow.log"
    assert not rotate(log, 10)
    for size in (1, 10):
        log.write_text("x" * size)
        assert not rotate(log, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.log"]


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_the_last_few_are_kept_in_order(tmp_path, kept):
    log = tmp_path / "mlflow.log"
    for number in range(6):
        log.write_text(f"{number}" * 11)
        assert rotate(log, 10, kept=kept)
        assert log.read_text() == ""
    assert {path.name: path.read_text()[:1] for path in tmp_path.iterdir()} == {
        "mlflow.log": "", **{f"mlflow.{place}.log": str(6 - place) for place in range(1, kept + 1)},
    }  # fmt: skip


def test_a_process_that_has_it_open_and_its_child_write_on_and_nothing_is_lost(tmp_path):
    """As a server does that prints, and what it has started."""
    log = tmp_path / "prefect.log"
    code = (
        "import os, sys\n"
        "for number, line in enumerate(sys.stdin):\n"
        "    print('line', number, flush=True)\n"
        "    os.system('echo of a child')\n"
    )
    with log.open("ab") as file:
        writer = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=file, text=True)
    seen = ""
    for number in range(4):
        writer.stdin.write("go\n")
        writer.stdin.flush()
        while f"line {number}\nof a child\n" not in log.read_text():
            assert writer.poll() is None
        assert rotate(log, 5, kept=9)
        seen = (tmp_path / "prefect.1.log").read_text() + seen
    writer.stdin.close()
    assert writer.wait() == 0
    assert seen.count("of a child") == 4
    assert log.read_bytes() == b""


def test_one_that_cannot_be_copied_goes_on(tmp_path, monkeypatch):
    log = tmp_path / "page.log"
    log.write_bytes(b"x" * 10_000_001)
    (tmp_path / "page.1.log").write_text("earlier")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", refuse)
    rotate_all(tmp_path.glob("*.log"))
    assert log.stat().st_size == 10_000_001
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.1.log", "page.log"]
    assert (tmp_path / "page.1.log").read_text() == "earlier"


def test_earlier_logs_are_not_taken_for_logs(tmp_path):
    (tmp_path / "page.1.log").write_bytes(b"x" * 10_000_001)
    rotate_all(tmp_path.glob("*.log"))
    assert [path.name for path in tmp_path.iterdir()] == ["page.1.log"]


def test_who_reads_the_logs_sees_what_went_into_a_copy_once(tmp_path):
    logs = ServerLogs([])
    logs.watch(tmp_path)
    log = tmp_path / "prefect.log"
    log.write_text("ERROR: seen\n")
    with pytest.raises(AssertionError, match="ERROR: seen"):
        logs.check()
    for number in range(2):
        with log.open("a") as file:
            file.write(f"ERROR: before {number}\n")
        rotate(log, 5)
        with log.open("a") as file:
            file.write(f"ERROR: after {number}\n")
        with pytest.raises(AssertionError) as found:
            logs.check()
        assert f"ERROR: before {number}" in str(found.value)
        assert f"ERROR: after {number}" in str(found.value)
        assert "seen" not in str(found.value)
    logs.check()


def test_a_process_looks_after_the_logs_of_a_folder_that_comes_later(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.storage.log_files._SECONDS", 0.05)
    folder = tmp_path / "services"
    keep_small(folder)
    folder.mkdir()
    (folder / "mlflow.log").write_bytes(b"x" * 10_000_001)
    wait_for((folder / "mlflow.1.log").exists)
    wait_for(lambda: (folder / "mlflow.log").stat().st_size == 0)
