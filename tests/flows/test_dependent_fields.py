"""Fields that do not fit each other end a run in its first second, before anything is trained."""

import pytest

from flows.cases import cases
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


@pytest.mark.parametrize(
    ("flow", "words", "told"),
    [
        (
            pipeline,
            ["--preset", "debug", "--dataset.limit", "64"],
            "entry 1 is on case 64; count the test images from 0 to",
        ),
        (reports, [], "entry 2 is on the image of entry 1 again; keep one of them."),
        (
            cases,
            ["--cases.images", __file__],
            "compares reports on test images: leave it out here, or run the reports flow.",
        ),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_reference_reports_that_do_not_fit_are_refused_before_the_training(flow, words, told, tmp_path, capsys):
    path = tmp_path / "references.csv"
    path.write_text("case,reference\n64,Clear lungs.\n64,Clear lungs.\n")
    assert main(flow, [*words, "--reports.references", str(path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: --reports.references")
    assert told in error
    assert not _tracked_runs()


def _tracked_runs():
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri())
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
