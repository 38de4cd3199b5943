"""The start page, over a real tracker and a real Prefect server."""

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.support import overview
from flows.support.overview import show_overview
from tasks.execution.artifacts import write_overview
from tasks.parameters.dataset import DatasetParameters
from tasks.tracking import runs
from tests.tasks.tracking.test_runs import in_flow

pytestmark = pytest.mark.usefixtures("prefect_server", "outputs")


def _shown():
    only = ArtifactFilter(key=ArtifactFilterKey(any_=["overview"]))
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=only)


def _log(**metrics):
    return lambda run: runs.log_metrics(run, {name.replace("__", "/"): value for name, value in metrics.items()})


def test_it_says_what_there_is_and_stays_one_artifact():
    runs.prepare()
    show_overview()
    (first,) = _shown()
    assert "| Champion | none yet |" in first.data
    best = in_flow(_log(val__auc=0.98, test__auc=0.97))
    in_flow(_log(val__auc=0.91, test__auc=0.99))
    in_flow(_log(loo__map=0.9, drift__domain_auc_normal=0.8, drift__domain_auc_normal_ci_low=0.7), "retrieval")
    show_overview()
    (again,) = _shown()
    assert again.id == first.id
    row = next(line for line in again.data.splitlines() if "Best classifier" in line)
    assert f"/runs/{best}" in row
    assert "): Validation AUC 0.980 · Test AUC 0.970 |" in row
    assert "normal 0.800 |" in again.data
    assert "Mean average precision 0.900" in again.data
    assert "deployments)" in again.data


def test_a_trial_on_a_part_of_the_data_is_never_the_best():
    runs.prepare()
    in_flow(_log(val__auc=1.0), forms={"dataset": DatasetParameters(limit=100)})
    show_overview()
    assert "| Best classifier by validation AUC | none yet |" in _shown()[0].data


def test_an_error_leaves_it_as_it_was(monkeypatch, caplog):
    def fail(*_):
        raise OSError("the tracker is away")

    monkeypatch.setattr(overview, "first_run", fail)
    show_overview()
    assert "The overview stays as it was: the tracker is away" in caplog.text


def test_one_that_is_there_stays_as_it_is_where_it_is_only_to_be_made():
    write_overview("first")
    write_overview("second", anew=False)
    assert [artifact.data for artifact in _shown()] == ["first"]
