"""Tracking on a real SQLite store, inside real flow runs."""

import contextlib
import io
import json
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels.models import SqlExperimentTag
from PIL import Image
from prefect import flow
from sqlalchemy import event
from sqlalchemy.orm import Session

from models.errors import InputError
from tasks.parameters.dataset import DatasetParameters
from tasks.records.base import Point, RunReference
from tasks.storage.process_identity import process_identity
from tasks.storage.store import Store
from tasks.tracking import runs
from tasks.tracking.pages import FIGURES, LEADERBOARD, view_page
from tasks.tracking.views import LEADERBOARDS, TAG, leaderboard

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")
_PICTURE = io.BytesIO()
Image.new("L", (4, 4)).save(_PICTURE, "PNG")
PNG = _PICTURE.getvalue()
FORMS = {"dataset": DatasetParameters()}


def new_client():
    from tasks.storage.locations import tracking_uri

    return MlflowClient(tracking_uri())


def in_flow(action=lambda run: None, stage="classification", retries=0, forms=FORMS):
    """Run an action inside a tracked flow run; give the MLflow run id."""
    seen = []

    @flow(name="tracked", retries=retries)
    def tracked():
        with runs.tracked_run(stage, forms) as run:
            seen.append(run.run_id)
            action(run)

    tracked()
    return seen[-1]


def test_a_run_carries_params_links_and_a_true_end():
    run_id = in_flow()
    run = new_client().get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["dataset.size"] == "28"
    flow_run_id = run.data.tags["prefect.flow_run_id"]
    assert run.data.tags["prefect.flow_run_url"].endswith(flow_run_id)
    assert flow_run_id in run.data.tags["mlflow.note.content"]
    assert len(run.data.tags["mlflow.source.git.commit"]) in (7, 40)


def test_a_run_that_is_interrupted_while_it_is_opened_is_closed(monkeypatch):
    create = MlflowClient.create_run

    def interrupted(*arguments, **options):
        create(*arguments, **options)
        raise SystemExit  # a termination signal would end this process, too

    runs.prepare()
    monkeypatch.setattr(MlflowClient, "create_run", interrupted)
    with pytest.raises(SystemExit):
        in_flow()
    client = new_client()
    experiment = client.get_experiment_by_name("pneumonia/classification").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.status == "KILLED"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("broken"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(1), "KILLED"),
        (runs.PrunedError("behind"), "KILLED"),
    ],
)  # fmt: skip
def test_the_status_is_true_after_a_failure(error, status):
    seen = []

    def fail(run):
        seen.append(run.run_id)
        raise error

    with pytest.raises(BaseException):  # noqa: B017 - Prefect wraps some of them
        in_flow(fail)
    assert new_client().get_run(seen[0]).info.status == status


def _delete_run(run):
    new_client().delete_run(run.run_id)


def _delete_experiment(run):
    new_client().delete_experiment(new_client().get_run(run.run_id).info.experiment_id)


def _delete_for_good(run):
    new_client()._tracking_client.store._hard_delete_run(run.run_id)


@pytest.mark.parametrize("delete", [_delete_run, _delete_experiment, _delete_for_good])
def test_a_run_that_is_deleted_while_it_goes_on_is_one_sentence_and_the_next_is_logged(delete):
    def log_afterwards(run):
        delete(run)
        runs.log_metrics(run, {"test/auc": 1.0})

    with pytest.raises(
        InputError, match=r"^The MLflow run \w{32} or its experiment was deleted in MLflow while it went on"
    ):
        in_flow(log_afterwards)
    assert new_client().get_run(in_flow()).info.status == "FINISHED"


def test_a_run_whose_params_are_refused_does_not_stay_open():
    seen = []

    @flow(name="changed")
    def changed():
        with runs.tracked_run("classification", FORMS) as run:
            seen.append(run.run_id)
        with runs.tracked_run("classification", {"dataset": DatasetParameters(limit=32)}):
            pass

    with pytest.raises(MlflowException, match=r"dataset\.limit"):
        changed()
    assert new_client().get_run(seen[0]).info.status == "FAILED"


def test_a_retry_goes_on_in_the_same_run_and_logs_nothing_twice():
    tries = []

    def log_then_fail_once(run):
        tries.append(run.run_id)
        runs.log_metrics(run, {"test/auc": 0.5, "test/undefined": float("nan")})
        runs.log_points(run, [Point("train/loss", 1 / epoch, epoch, 1_700_000_000_000 + epoch) for epoch in (1, 2)])
        runs.log_table(run, "cases.json", ["index"], [[1], [2]])
        runs.log_files(run, {"report.md": Store().put(b"# Report", "text/markdown")})
        if len(tries) == 1:
            raise RuntimeError("transient")

    run_id = in_flow(log_then_fail_once, retries=1)
    client = new_client()
    assert tries == [run_id, run_id]
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run_id, "test/auc")) == 1
    assert "test/undefined" not in run.data.metrics
    assert [(m.step, m.value) for m in client.get_metric_history(run_id, "train/loss")] == [(1, 1.0), (2, 0.5)]
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "cases.json", "type": "table"}]
    assert sorted(file.path for file in client.list_artifacts(run_id)) == ["cases.json", "report.md"]


def test_images_have_readable_names_and_are_logged_once_on_a_retry():
    png = io.BytesIO()
    Image.new("RGB", (1200, 900)).save(png, "PNG")
    figure = Store().put(png.getvalue(), "image/png")
    tries = []

    def log_then_fail_once(run):
        tries.append(run.run_id)
        runs.log_images(run, {"roc_curve": figure})
        if len(tries) == 1:
            raise RuntimeError("transient")

    run_id = in_flow(log_then_fail_once, retries=1)
    client = new_client()
    assert len(tries) == 2
    large, small = runs.image_paths("roc_curve")
    assert {file.path for file in client.list_artifacts(run_id, "images")} == {large, small}
    assert Path(client.download_artifacts(run_id, large)).read_bytes() == png.getvalue()
    assert Image.open(client.download_artifacts(run_id, small)).size == (500, 375)
    assert client.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"


def _view(key, stage="reports"):
    return new_client().get_experiment_by_name(f"pneumonia/{stage}").tags[TAG + key]


def test_the_view_of_the_figures_is_saved_once_and_then_left_to_the_people():
    figure = Store().put(PNG, "image/png")
    in_flow(lambda run: runs.log_images(run, {"roc_curve": figure}), stage="reports")
    view = _view(FIGURES)
    first, *bars = json.loads(json.loads(view)["state"])["compareRunCharts"]
    assert first["imageKeys"] == ["roc_curve"]
    assert [bar["metricKey"] for bar in bars] == list(LEADERBOARDS["reports"].metrics)
    changed = json.dumps(json.loads(view) | {"updatedAt": 1})
    client = new_client()
    client.set_experiment_tag(client.get_experiment_by_name("pneumonia/reports").experiment_id, TAG + FIGURES, changed)
    in_flow(lambda run: runs.log_images(run, {"grad_cam": figure}), stage="reports")
    assert _view(FIGURES) == changed


def test_every_experiment_has_a_leaderboard_and_says_where_it_is():
    runs.prepare()
    client = new_client()
    for name, said in runs.EXPERIMENTS.items():
        experiment = client.get_experiment_by_name(name)
        assert json.loads(experiment.tags[TAG + LEADERBOARD])["name"] == "Leaderboard"
        note = experiment.tags["mlflow.note.content"]
        assert note.endswith(said)
        for view in (LEADERBOARD, FIGURES):
            assert f"]({view_page(experiment.experiment_id, view, within=True)})" in note


def test_an_experiment_of_before_is_furnished_and_what_a_person_wrote_stays():
    runs.prepare()
    client = new_client()
    for name, note in (("pneumonia/reports", runs.EXPERIMENTS["pneumonia/reports"]), ("pneumonia/sweep", "Mine.")):
        experiment = client.get_experiment_by_name(name).experiment_id
        client.set_experiment_tag(experiment, "mlflow.note.content", note)
        client.delete_experiment_tag(experiment, TAG + LEADERBOARD)
    runs._prepared.clear()
    runs.prepare()
    notes = [
        client.get_experiment_by_name(f"pneumonia/{stage}").tags["mlflow.note.content"]
        for stage in ("reports", "sweep")
    ]
    assert "[Leaderboard](" in notes[0]
    assert notes[1] == "Mine."
    assert _view(LEADERBOARD) == leaderboard(LEADERBOARDS["reports"])


def test_a_run_links_its_pages_in_its_description_once():
    def link_twice(run):
        runs.log_links(run, {"report": runs.place_of(run, "report.html")})
        runs.log_links(run, {"report": runs.place_of(run, "report.html"), "map [x]": runs.place_of(run)})

    run_id = in_flow(link_twice)
    run = new_client().get_run(run_id)
    here = f"#/experiments/{run.info.experiment_id}/runs/{run_id}"
    kind = "?workflowType=machine_learning"
    note = run.data.tags["mlflow.note.content"]
    assert note.endswith(f"\n\nIn MLflow: [report]({here}/artifacts/report.html{kind}) · [map \\[x\\]]({here}{kind})")
    assert note.count("In MLflow") == 1
    assert "Prefect flow run:" in note


def test_a_view_that_another_run_saves_at_the_same_moment_ends_no_run(outputs):
    figure = Store().put(PNG, "image/png")
    saved = []

    def save_first(session, *_):
        """Save a view from elsewhere, between MLflow's look for the tag and its insertion."""
        for tag in session.new:
            if isinstance(tag, SqlExperimentTag) and tag.key == TAG + FIGURES:
                with contextlib.closing(sqlite3.connect(outputs / "mlflow.db")) as other, other:
                    row = (TAG + FIGURES, "of another run", tag.experiment_id)
                    other.execute("INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)", row)
                saved.append(tag.experiment_id)

    event.listen(Session, "before_flush", save_first)
    try:
        in_flow(lambda run: runs.log_images(run, {"roc_curve": figure}))
    finally:
        event.remove(Session, "before_flush", save_first)
    (experiment,) = saved
    assert new_client().get_experiment(str(experiment)).tags[TAG + FIGURES] == "of another run"


def test_a_subflow_is_a_child_in_mlflow_too():
    ids = {}

    @flow(name="inner")
    def inner():
        with runs.tracked_run("retrieval", FORMS) as run:
            ids["inner"] = run.run_id

    @flow(name="outer")
    def outer():
        with runs.tracked_run("pipeline", FORMS) as run:
            ids["outer"] = run.run_id
            inner()

    outer()
    assert new_client().get_run(ids["inner"]).data.tags["mlflow.parentRunId"] == ids["outer"]
    assert "mlflow.parentRunId" not in new_client().get_run(ids["outer"]).data.tags


@pytest.mark.parametrize("new_process", [False, True])
def test_an_experiment_that_was_deleted_is_restored_and_the_log_says_so(new_process, caplog):
    """In the process that made the experiment, and in one that finds it deleted."""
    before = in_flow(stage="reports")
    client = new_client()
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    client.delete_experiment(experiment)
    if new_process:
        runs._prepared.clear()
    run = client.get_run(in_flow(stage="reports"))
    assert (run.info.experiment_id, run.info.status) == (experiment, "FINISHED")
    assert client.get_run(before).info.lifecycle_stage == "active"
    told = [record.getMessage() for record in caplog.records if "had been deleted" in record.getMessage()]
    assert told == [
        "The MLflow experiment pneumonia/reports had been deleted: it is restored with its runs, to log this one there."
    ]


def test_a_run_left_by_a_dead_process_is_closed_by_the_next():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    identity = process_identity(child.pid)
    assert identity
    run_id = in_flow()
    client = new_client()
    client.update_run(run_id, status="RUNNING")
    client.set_tag(run_id, "process.id", identity)
    in_flow()
    assert client.get_run(run_id).info.status == "RUNNING"  # its process lives
    child.kill()
    child.wait()
    in_flow()
    assert client.get_run(run_id).info.status == "KILLED"


def test_the_address_of_a_run_names_its_experiment():
    run_id = in_flow()
    experiment = new_client().get_run(run_id).info.experiment_id
    assert f"/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning" in runs.page_of(
        RunReference(run_id=run_id)
    )


def test_the_links_of_a_page_ask_once_for_the_experiment(monkeypatch):
    run, asked, get = RunReference(run_id=in_flow()), [], MlflowClient.get_run
    monkeypatch.setattr(MlflowClient, "get_run", lambda client, run_id: asked.append(run_id) or get(client, run_id))
    experiment = get(new_client(), run.run_id).info.experiment_id
    for number in range(5):
        for address in (runs.page_of(run), runs.place_of(run), runs.page_of_file(run, f"{number}.png")):
            assert f"/experiments/{experiment}/runs/{run.run_id}" in address
    assert asked in ([], [run.run_id])  # not again where the run itself has asked


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"])
@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1:9", "=http://127.0.0.1:9 does not answer .*refused"),
        ("http://me:secret@127.0.0.1:9", "=http://127.0.0.1:9 does not answer"),
        ("http://127.0.0.1:9/?key=secret", "=http://127.0.0.1:9/ does not answer"),
        ("http://127.0.0.1:port", "does not answer"),
        ("file:/tmp/runs", "=file:/tmp/runs is no place for runs"),
        ("./mlruns", "=./mlruns is no place for runs"),
        ("databricks", "=databricks is no place for runs"),
        ("databricks://profile", "is no place for runs"),
    ],
)
def test_a_tracker_that_cannot_be_used_is_one_sentence(monkeypatch, variable, address, told):
    monkeypatch.setenv(variable, address)
    with pytest.raises(
        InputError, match=f"{variable}.*{told}".replace("(", r"\(", 1) if "(" in told else told
    ) as refused:
        runs.require_tracker()
    assert str(refused.value).startswith(variable)
    assert "secret" not in str(refused.value)


def test_a_tracker_on_a_database_or_a_server_is_taken(monkeypatch):
    runs.require_tracker()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg2://me:secret@127.0.0.1:{port}/mlflow")
        runs.require_tracker()  # what answers is seen when it is opened
    with pytest.raises(
        InputError, match=rf"^MLFLOW_TRACKING_URI names a database at 127\.0\.0\.1:{port}, where nothing"
    ):
        runs.require_tracker()


def test_a_database_that_cannot_be_opened_is_one_sentence(monkeypatch, outputs):
    (outputs / "damaged.db").write_bytes(b"no database at all, but longer than a header of one hundred bytes " * 3)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{outputs / 'damaged.db'}")
    with pytest.raises(InputError, match=r"MLflow at sqlite.*damaged.db cannot be used: .*file is not a database"):
        runs.prepare()


def test_a_database_of_another_version_is_one_sentence(outputs):
    with contextlib.closing(sqlite3.connect(outputs / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'cc1f77228345'")
    with pytest.raises(InputError, match="is of another version than this one: `make upgrade` brings an earlier one"):
        runs.new_client()
