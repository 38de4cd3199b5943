"""Saved views; that MLflow's pages read them so is tested in `tests/upstream/test_mlflow_pages.py`."""

import json

from tasks.tracking.runs import EXPERIMENTS
from tasks.tracking.views import LEADERBOARDS, figure_view, is_outdated, leaderboard


def _state(view):
    return json.loads(json.loads(view)["state"])


def test_every_experiment_has_a_leaderboard_that_fits_a_page_and_is_sorted():
    assert {f"pneumonia/{stage}" for stage in LEADERBOARDS} == set(EXPERIMENTS)
    for columns in LEADERBOARDS.values():
        state = _state(leaderboard(columns))
        assert state["orderByKey"] == f"metrics.`{columns.metrics[0]}`"
        assert state["orderByAsc"] == columns.ascending
        assert set(state["selectedColumns"]) <= set(state["columnOrder"]) == set(state["columnWidths"])
        assert sum(state["columnWidths"].values()) <= 1160


def test_the_leaderboard_of_classifiers_shows_what_tells_them_apart():
    shown = _state(leaderboard(LEADERBOARDS["classification"]))["columnOrder"]
    assert shown == [
        "attributes.`Run Name`", "tags.`champion`", "metrics.`val/auc`", "metrics.`test/auc`",
        "metrics.`test/accuracy`", "params.`training.seed`", "params.`training.epochs`", "params.`dataset.limit`",
        "attributes.`Dataset`", "duration", "runDateAndNestInfo",
    ]  # fmt: skip


def test_a_figure_has_a_card_of_its_own_and_the_metrics_that_are_compared_come_next():
    state = _state(figure_view(["roc_curve", "grad_cam"], ["val/auc", "test/auc"]))
    charts = [(chart["type"], chart.get("imageKeys") or chart["metricKey"]) for chart in state["compareRunCharts"]]
    assert charts == [("IMAGE", ["roc_curve"]), ("IMAGE", ["grad_cam"]), ("BAR", "val/auc"), ("BAR", "test/auc")]
    assert [section["uuid"] for section in state["compareRunSections"]] == [
        "side-by-side", "metrics", "val", "test",
    ]  # fmt: skip
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {"side-by-side", "metrics"}


def test_a_view_is_renewed_unless_a_person_has_changed_it():
    ours = figure_view(["roc_curve"])
    assert is_outdated(None)
    assert not is_outdated(ours)
    older = {name: value for name, value in json.loads(ours).items() if name != "form"}
    assert is_outdated(json.dumps(older))
    assert not is_outdated(json.dumps(older | {"updatedAt": 1_795_000_000_000}))  # overridden on MLflow's page
    assert not is_outdated(json.dumps(older | {"createdAt": 1_795_000_000_000}))  # made there
    assert not is_outdated("no JSON")
