"""Fields that do not fit each other end a run in its first second, before anything is trained."""

import pytest

from flows.pipeline import pipeline
from flows.reports import reports
from flows.retrieval import retrieval
from flows.support.shell import main
from tasks.storage.locations import tracking_uri

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs", "official_file")


@pytest.mark.parametrize("flow", [pipeline, reports, retrieval], ids=lambda flow: flow.name)
def test_a_cut_off_larger_than_a_class_is_refused_before_the_training(flow, capsys):
    words = ["--preset", "debug", "--dataset.limit", "64", "--retrieval.k_values", "1,24"]  # 24 of 64 are normal
    assert main(flow, words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        "error: --retrieval.k_values: k = 24 neighbours are more than the smallest class of the test"
    )
    assert "give a query, 23;" in error
    assert not _tracked_runs()


def test_a_single_fold_is_refused_before_the_run(capsys):
    assert main(pipeline, ["--evaluation.label_folds", "1"]) == 2
    assert "--evaluation.label_folds: One fold leaves nothing to train on" in capsys.readouterr().err


def _tracked_runs():
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri())
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
