"""The history of the champion's search, over a real tracker: its numbers are MLflow's."""

from datetime import UTC, datetime, timedelta
from statistics import mean

import pytest
from mlflow.entities import Dataset, DatasetInput

from flows.support.history import write_history
from tasks.retrieval.weekly import week_of
from tasks.storage.store import Store
from tasks.tracking import runs
from tests.flows.support.test_products import _dataset
from tests.tasks.retrieval.figures.test_history_page import cells

pytestmark = pytest.mark.usefixtures("outputs")
NOW = {"drift/domain_auc_normal": 0.9, "loo/precision_at_1": 0.7, "drift/new_images": 5.0}


def _log(weeks_ago, metrics, stage="retrieval", dataset="pneumoniamnist", status="FINISHED", **params):
    client, began = runs.new_client(), datetime.now(UTC) - timedelta(days=7 * weeks_ago)
    experiment = client.get_experiment_by_name(f"pneumonia/{stage}").experiment_id
    run_id = client.create_run(experiment, start_time=int(began.timestamp() * 1000)).info.run_id
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)
    for name, value in ({"retrieval.classifier": "champion", "encoder": "classifier"} | params).items():
        client.log_param(run_id, name, value)
    client.log_inputs(run_id, [DatasetInput(Dataset(dataset, "d", "own", "{}"))])
    client.set_terminated(run_id, status)
    return run_id


def _rows(metrics):
    page = Store().get(write_history(_dataset(), "classifier", metrics)).decode()
    head, *rows = cells(page)
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_the_first_run_is_a_history_of_one_week():
    runs.prepare()
    (week,) = _rows(NOW)
    assert week == {
        "week from": str(week_of(datetime.now(UTC))), "test, normal": "0.900", "Precision at 1, within test": "0.700",
        "runs": "1", "new images": "5",
    }  # fmt: skip


def test_the_numbers_are_those_of_mlflow_and_other_runs_are_left_out():
    runs.prepare()
    counted = [
        _log(3, {"drift/domain_auc_normal": 0.6, "loo/precision_at_1": 0.9}),
        _log(3, {"drift/domain_auc_normal": 0.7, "loo/precision_at_1": 0.8, "drift/new_images": 40}),
        _log(1, {"drift/domain_auc_normal": 0.8}),
    ]
    _log(2, {"drift/domain_auc_normal": 0.1}, status="FAILED")
    _log(2, {"drift/domain_auc_normal": 0.1}, dataset="pneumoniamnist (first 160 of each split)")
    _log(2, {"drift/domain_auc_normal": 0.1}, **{"retrieval.classifier": "train"})
    _log(2, {"drift/domain_auc_normal": 0.1}, encoder="clip")
    _log(2, {"cases/count": 12.0}, stage="cases")
    _log(2, {"cases/count": 3.0}, stage="cases")
    found = [runs.new_client().get_run(run_id).data.metrics for run_id in counted]
    newest, last, empty, oldest = _rows(NOW)
    for name, title in (
        ("drift/domain_auc_normal", "test, normal"),
        ("loo/precision_at_1", "Precision at 1, within test"),
    ):
        assert oldest[title] == f"{mean(metrics[name] for metrics in found[:2]):.3f}"
    assert (oldest["runs"], oldest["new images"], oldest["pictures judged"]) == ("2", "40", "0")
    assert (empty["runs"], empty["test, normal"], empty["pictures judged"]) == ("0", "–", "15")
    assert (last["runs"], last["test, normal"]) == ("1", f"{found[2]['drift/domain_auc_normal']:.3f}")
    assert (newest["runs"], newest["test, normal"], newest["new images"]) == ("1", "0.900", "5")


def test_more_runs_than_one_answer_holds_are_all_read(monkeypatch):
    runs.prepare()
    monkeypatch.setattr("tasks.tracking.history._AT_ONCE", 2)
    for _ in range(5):
        _log(1, {"loo/precision_at_1": 0.5})
    assert [row["runs"] for row in _rows(NOW)] == ["1", "5"]
