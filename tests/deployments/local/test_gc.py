import os
import time

import pytest

from deployments.local.gc import main
from tasks.storage.store import Store
from tasks.tracking.runs import new_client


@pytest.fixture
def old(outputs):
    """A file of the store that nothing names, forty days old."""
    path = outputs / "store" / Store().put(b"content", "text/csv").uri
    os.utime(path, (time.time() - 40 * 86_400,) * 2)
    return path


def test_it_shows_and_removes_nothing_until_one_says_so(old, capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split() == ["content", "1", "0.0"]
    assert "Nothing was removed" in shown
    assert old.is_file()
    assert main(["--delete"]) == 0
    assert "Removed: 0.0 MB are free again." in capsys.readouterr().out
    assert not old.exists()


def test_nothing_is_removed_while_a_run_is_under_way(old, capsys):
    client = new_client()
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    run = client.create_run(experiment, run_name="the reports of tonight")
    assert main(["--delete"]) == 2
    assert "1 run is under way (the reports of tonight)" in capsys.readouterr().err
    assert old.is_file()
    client.set_terminated(run.info.run_id)
    assert main(["--delete"]) == 0
    assert not old.exists()


@pytest.mark.parametrize("uri", ["memory://store", "/tmp"])
def test_a_store_that_others_may_share_is_left_alone(old, monkeypatch, capsys, uri):
    monkeypatch.setenv("STORE_URI", uri)
    assert main(["--delete"]) == 2
    assert f"The store at {uri} or the results at" in capsys.readouterr().err
    assert old.is_file()


@pytest.mark.parametrize("days", ["6.9", "-1", "nan", "soon"])
def test_too_young_an_age_is_refused(old, days, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--older-than", days, "--delete"])
    assert ended.value.code == 2
    assert "--older-than" in capsys.readouterr().err
    assert old.is_file()


def test_a_folder_that_cannot_be_read_is_one_sentence(old, monkeypatch, capsys):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("sha256"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert main(["--delete"]) == 2
    assert "cannot be read or removed (Permission denied): mend that" in capsys.readouterr().err
    assert old.is_file()


def test_sizes_and_runs_leave_where_one_asks_for_it(old, outputs, capsys):
    client = new_client()
    run = client.create_run(client.get_experiment_by_name("pneumonia/reports").experiment_id)
    client.set_terminated(run.info.run_id, end_time=int((time.time() - 40 * 86_400) * 1000))
    result = outputs / "results" / "step" / ("a" * 64)
    result.parent.mkdir(parents=True)
    result.write_text("x" * 1000)
    os.utime(result, (time.time() - 20 * 86_400,) * 2)
    asked = ["--at-most", "0.0000001", "--runs-older-than", "30"]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert "days on, so that 1e-07 GB are kept." in shown
    assert "1 run of MLflow that ended over 30 days ago" in shown
    assert result.is_file()
    assert client.search_runs([run.info.experiment_id])
    assert main([*asked[:2], "--delete"]) == 0
    assert not result.exists()


@pytest.mark.parametrize("size", ["-1", "nan", "inf", "much"])
def test_what_is_no_size_is_refused(old, size, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--at-most", size])
    assert ended.value.code == 2
