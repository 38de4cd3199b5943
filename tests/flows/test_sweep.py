"""The sweep on real images at the debug preset: concurrent children, what is kept, what fails."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import psutil
import pytest
from mlflow import MlflowClient
from optuna.distributions import CategoricalDistribution
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.settings import get_current_settings

from flows.support.processes import ProcessPerCall
from flows.support.shell import main, parse
from flows.sweep import sweep
from tasks.execution.caching import outcomes
from tasks.storage.locations import tracking_uri
from tests.e2e.services import wait_for
from tests.flows.small import CLASSIFICATION, FEW_IMAGES
from tests.support.pages import page_of

CHECKOUT = Path(__file__).parents[2]
WORDS = [
    *CLASSIFICATION, *FEW_IMAGES, "--training.architecture", "compact28", "--sweep.learning_rates", "0.001,0.002",
    "--sweep.at_once", "2",
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module", autouse=True)
def _data(official_file):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA", str(official_file.parent))
        yield


def _run(*words):
    return sweep(**parse(sweep, [*WORDS, *words]))


def _children(swept):
    parent = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[swept["flow_run_id"]]))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=parent)


def _states(swept):
    return [(result.settings["learning_rate"], result.seed, result.state) for result in swept["results"]]


@pytest.fixture(scope="module")
def first(prefect_server, shared_outputs, _data):
    return _run("--sweep.seeds", "0,1")


def test_every_child_is_nested_in_both_trackers_with_its_own_form(first):
    assert _states(first) == [(rate, seed, "run") for seed in (0, 1) for rate in (0.001, 0.002)]
    children = _children(first)
    assert len(children) == 4
    assert all(child.state.is_completed() for child in children)
    client = MlflowClient(tracking_uri())
    flow_runs, names = set(), set()
    for result in first["results"]:
        run = client.get_run(result.run_id)
        assert run.info.status == "FINISHED"
        assert run.info.run_name == f"learning rate {result.settings['learning_rate']:g} · seed {result.seed}"
        assert run.data.tags["mlflow.parentRunId"] == first["mlflow_run_id"]
        assert float(run.data.params["training.learning_rate"]) == result.settings["learning_rate"]
        assert int(run.data.params["training.seed"]) == result.seed
        assert run.data.metrics["test/auc"] == pytest.approx(result.metrics["test/auc"])
        flow_runs.add(run.data.tags["prefect.flow_run_id"])
        names.add(run.info.run_name)
    assert flow_runs == {str(child.id) for child in children}
    assert names == {child.name for child in children}
    steps = outcomes(flow_runs)
    assert sum(step.step == "train-classifier" and not step.hit for step in steps) == 4


def test_no_more_than_two_children_ran_at_once(first):
    spans = sorted((child.start_time, child.end_time) for child in _children(first))
    for start, _ in spans:
        assert sum(other <= start < end for other, end in spans) <= 2


def test_the_run_of_the_sweep_holds_leaderboard_figure_and_report(first):
    client = MlflowClient(tracking_uri())
    run = client.get_run(first["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "pneumonia/sweep"
    assert run.data.metrics["sweep/run"] == 4
    board = json.loads(Path(client.download_artifacts(run.info.run_id, "leaderboard.json")).read_text())
    losses = [row[board["columns"].index("val/balanced_log_loss mean")] for row in board["data"]]
    assert losses == sorted(losses)
    assert [row[board["columns"].index("rank")] for row in board["data"]] == [1, 2]
    picture = Path(client.download_artifacts(run.info.run_id, "figures/parallel_coordinates.png"))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Leaderboard" in Path(client.download_artifacts(run.info.run_id, "report.md")).read_text()
    page = page_of(first["flow_run_id"])
    for text in ("Best validation AUC", "![parallel coordinates](data:image/png", "Leaderboard", "\n## Steps"):
        assert text in page


def test_the_same_again_keeps_all_and_another_seed_runs_the_new_ones_only(first, shared_outputs):
    again = _run("--sweep.seeds", "0,1")
    assert {state for _, _, state in _states(again)} == {"kept"}
    assert _children(again) == []
    assert [row.summaries for row in again["rows"]] == [row.summaries for row in first["rows"]]
    more = _run("--sweep.seeds", "0,1,2", "--sweep.at_once", "1")
    assert [(rate, seed) for rate, seed, state in _states(more) if state == "run"] == [(0.001, 2), (0.002, 2)]
    assert len(_children(more)) == 2
    assert {row.seeds for row in more["rows"]} == {3}
    damaged = sorted((shared_outputs / "results" / "run-trial").iterdir())[:2]
    for record, content in zip(damaged, (b"{", b""), strict=True):
        record.write_bytes(content)
    mended = _run("--sweep.seeds", "0,1,2")
    assert [state for _, _, state in _states(mended)].count("run") == 2
    steps = outcomes(str(child.id) for child in _children(mended))
    assert all(step.hit for step in steps if step.step in ("train-classifier", "evaluate-classifier"))
    assert [row.summaries["test/auc"] for row in mended["rows"]] == [row.summaries["test/auc"] for row in more["rows"]]


def test_one_that_fails_ends_the_sweep_failed_after_the_others_and_is_tried_again(first, capsys):
    words = [*WORDS, "--sweep.seeds", "0", "--sweep.batch_sizes", "16,4096"]  # the second is larger than the split
    assert main(sweep, words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: 2 of 4 trainings failed, the first because: ")
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pneumonia/sweep").experiment_id
    run = client.search_runs([experiment], order_by=["attributes.start_time DESC"], max_results=1)[0]
    assert run.info.status == "FAILED"
    assert (run.data.metrics["sweep/kept"], run.data.metrics["sweep/failed"]) == (2, 2)  # 16 is the preset's
    report = Path(client.download_artifacts(run.info.run_id, "report.md")).read_text()
    assert report.count("| failed |") == 2
    assert "4096" in report


SEARCH = [
    *CLASSIFICATION, *FEW_IMAGES, "--training.architecture", "compact28", "--training.epochs", "2", "--sweep.search",
    "tpe", "--sweep.trials", "3", "--sweep.learning_rates", "0.1,0.00001,0.2", "--sweep.seeds", "0,1",
    "--sweep.startup_trials", "1", "--sweep.prune_after", "1", "--sweep.at_once", "1",
]  # fmt: skip


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_a_search_goes_on_after_a_kill_prunes_what_falls_behind_and_repeats(shared_outputs):
    server = get_current_settings().to_environment_variables(exclude_unset=True)
    kept = _kept_trials(shared_outputs)
    process = subprocess.Popen([sys.executable, "-m", "flows.sweep", *SEARCH], cwd=CHECKOUT, env=os.environ | server)
    try:
        wait_for(lambda: process.poll() is not None or _kept_trials(shared_outputs) - kept, 900)
    finally:
        process.kill()
        process.wait()
    searched = sweep(**parse(sweep, SEARCH))

    # At the second rate nothing is learnt in so few steps, and the second trial repeats the first. At the third the
    # weights are thrown about in the first epoch, which is far above the bar, and no second seed is trained.
    ends = [(result.settings["learning_rate"], result.seed, result.pruned) for result in searched["results"]]
    assert ends == [(1e-5, 0, False), (1e-5, 1, False), (0.2, 0, True)]
    assert searched["results"][0].state == "kept"
    pruned = searched["results"][2]
    assert pruned.curve[0] > 2 * searched["results"][0].curve[0]
    assert len(pruned.curve) == 1

    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=1)
    study, proposed = optuna.create_study(sampler=sampler), []
    for _ in range(3):
        trial = study.ask({"learning_rate": CategoricalDistribution([0.1, 1e-5, 0.2])})
        proposed.append(trial.params["learning_rate"])
        study.tell(trial, searched["rows"][0].summaries["val/balanced_log_loss"].mean)
    assert proposed == [1e-5, 1e-5, 0.2]

    client = MlflowClient(tracking_uri())
    run = client.get_run(pruned.run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags["pruned"].startswith("Pruned after epoch 1 of 2: its lowest validation loss, ")
    assert "test/auc" not in run.data.metrics
    with get_client(sync_client=True) as prefect:
        child = prefect.read_flow_run(run.data.tags["prefect.flow_run_id"])
        assert (child.state.name, child.state.is_completed()) == ("Pruned", True)
        assert child.state.message == run.data.tags["pruned"]
    assert run.data.tags["pruned"] in page_of(str(child.id))

    of_search = client.get_run(searched["mlflow_run_id"])
    assert of_search.info.status == "FINISHED"
    assert of_search.data.metrics["sweep/pruned"] == 1
    figures = {artifact.path for artifact in client.list_artifacts(searched["mlflow_run_id"], "figures")}
    assert figures == {"figures/optimization_history.png", "figures/parallel_coordinates.png"}  # two trials finished
    again = sweep(**parse(sweep, SEARCH))
    assert _children(again) == []
    assert [replace(result, state="") for result in again["results"]] == [
        replace(result, state="") for result in searched["results"]
    ]
    assert {result.state for result in again["results"]} == {"kept"}


def _kept_trials(outputs):
    """Names of the trials that are kept whole."""
    folder = outputs / "results" / "run-trial"
    return {path.name for path in folder.iterdir() if path.stat().st_size} if folder.exists() else set()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--sweep.seeds 1,1", "sweep.seeds names 1 more than once"),
        ("--sweep.losses cross_entropy", "does not fit"),
        ("--sweep.learning_rates 0", "--sweep.learning_rates.0"),
        ("--sweep.trials 4", "--sweep.trials is for a search"),
        ("--sweep.search tpe --sweep.trials 0", "--sweep.trials: Input should be greater than or equal to 1"),
        ("--sweep.search tpe --sweep.trials 4 --sweep.epochs 3", "nothing to choose"),
        ("--sweep.search tpe --sweep.trials 4 --sweep.learning_rates 0.1,0.01", "name the lower end first"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_before_data_is_touched(words, told, outputs, capsys):
    assert main(sweep, ["--preset", "debug", "--dataset.path", "missing.npz", *words.split()]) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.e2e
def test_cancelling_ends_the_trials_and_everything_says_so(shared_outputs):
    begun = time.time() * 1000
    words = [*WORDS, "--sweep.seeds", "7", "--training.epochs", "500"]
    server = get_current_settings().to_environment_variables(exclude_unset=True)
    process = subprocess.Popen([sys.executable, "-m", "flows.sweep", *words], cwd=CHECKOUT, env=os.environ | server)
    try:
        wait_for(lambda: process.poll() is not None or _both_train(begun), 400)
        assert process.poll() is None, "it ended by itself"
        process.terminate()
        assert process.wait(400) != 0
    finally:
        process.kill()
    assert _trainings("RUNNING", begun) == []
    killed = _trainings("KILLED", begun)
    assert len(killed) == 2
    with get_client(sync_client=True) as prefect:
        states = [prefect.read_flow_run(run.data.tags["prefect.flow_run_id"]).state for run in killed]
        assert all(state.is_cancelled() for state in states)


def _both_train(begun):
    return [bool(run.data.metrics) for run in _trainings("RUNNING", begun)] == [True, True]


def _trainings(status, begun):
    """Find the runs of trainings that have this status and began since."""
    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pneumonia/classification")
    if experiment is None:  # no run has been made yet
        return []
    found = f"attributes.status = '{status}' and attributes.start_time > {begun:.0f}"
    return list(client.search_runs([experiment.experiment_id], found))


@pytest.mark.e2e
def test_two_calls_run_at_once_and_a_third_waits_for_the_end_of_one(tmp_path):
    with ProcessPerCall(2, 20) as pool:
        met = [pool.submit(_meet, tmp_path, name, other) for name, other in ("ab", "ba")]
        third = pool.submit(_meet, tmp_path, "c", "c")
        assert [each.result(300) for each in met] == [False, False]
        assert third.result(300)


def _meet(folder, name, other):
    """Come, wait until another has come, look whether a third is there, and leave when the other has looked too."""
    folder.joinpath(name).touch()
    wait_for(folder.joinpath(other).exists)
    third = folder.joinpath("c").exists()
    folder.joinpath(f"{name} has looked").touch()
    wait_for(folder.joinpath(f"{other} has looked").exists)
    return third


@pytest.mark.e2e
def test_a_process_that_is_killed_fails_its_own_call_only():
    with ProcessPerCall(2, 20) as pool:
        killed = pool.submit(_kill_itself)
        other = pool.submit(pow, 2, 5)
        assert other.result(120) == 32
        with pytest.raises(RuntimeError, match="ended with the exit code -9"):
            killed.result(120)


def _kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


HOLD_ON = """
import os, sys, time
from pathlib import Path
from flows.support import processes

def hold_on(folder):
    "Wait, and do not end when asked to."
    folder.joinpath("child.part").write_text(str(os.getpid()))
    folder.joinpath("child.part").rename(folder / "child")
    try:
        time.sleep(600)
    finally:
        folder.joinpath("was asked").touch()
        time.sleep(600)

processes.PRELOADED = ()
with processes.ProcessPerCall(1, float(sys.argv[2])) as pool:
    pool.submit(hold_on, Path(sys.argv[1])).result()
"""


@pytest.mark.e2e
@pytest.mark.parametrize("patience", [0, 3])
def test_a_call_whose_parent_is_killed_may_end_within_its_patience_and_is_killed_then(tmp_path, patience):
    parent = subprocess.Popen([sys.executable, "-c", HOLD_ON, tmp_path, str(patience)], cwd=CHECKOUT)
    wait_for(tmp_path.joinpath("child").exists)
    child = psutil.Process(int(tmp_path.joinpath("child").read_text()))
    parent.kill()
    parent.wait(60)
    wait_for(lambda: not child.is_running())
    assert tmp_path.joinpath("was asked").exists() == bool(patience)
