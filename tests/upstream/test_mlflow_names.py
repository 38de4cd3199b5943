"""Names that MLflow keeps to itself and that `tasks/tracking/` uses: tags, tables, classes of no public module."""

import contextlib
import inspect
import json
import sqlite3

import pytest

from tasks.storage.locations import outputs as outputs_folder
from tasks.tracking import relocation, runs

pytestmark = pytest.mark.usefixtures("outputs")


@pytest.fixture
def client():
    return runs.new_client()


def test_the_tables_that_follow_a_move_hold_their_addresses(client):
    """`relocation.py`: where a name is gone, a moved folder of products would lose files."""
    with contextlib.closing(sqlite3.connect(outputs_folder() / "mlflow.db")) as database:
        for table, columns in relocation._ADDRESSES.items():
            known = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            assert set(columns) <= known, table


def test_a_table_is_announced_in_the_tag_that_mlflow_sets(client):
    """`runs.log_table`, which replaces where MLflow's own appends."""
    experiment = client.get_experiment_by_name("pneumonia/reports").experiment_id
    run_id = client.create_run(experiment).info.run_id
    client.log_table(run_id, {"row": [1]}, "a.json")
    theirs = json.loads(client.get_run(run_id).data.tags["mlflow.loggedArtifacts"])
    assert theirs == [{"path": "a.json", "type": "table"}]


def test_traces_are_handed_over_whole():
    """`traces.py`: requests of a client that MLflow does not document."""
    from mlflow.entities import Span, TraceInfo
    from mlflow.prompt.constants import PROMPT_EXPERIMENT_IDS_TAG_KEY
    from mlflow.tracing.client import TracingClient
    from mlflow.tracing.constant import SpansLocation, TraceMetadataKey, TraceTagKey

    assert list(inspect.signature(TracingClient.start_trace).parameters)[:2] == ["self", "trace_info"]
    assert list(inspect.signature(TracingClient.log_spans).parameters)[:3] == ["self", "location", "spans"]
    assert {"locations", "run_id", "include_spans", "page_token"} <= set(
        inspect.signature(TracingClient.search_traces).parameters
    )
    assert list(inspect.signature(Span.__init__).parameters)[1] == "otel_span"
    assert {"client_request_id", "assessments", "trace_metadata"} <= set(inspect.signature(TraceInfo).parameters)
    assert PROMPT_EXPERIMENT_IDS_TAG_KEY == "_mlflow_experiment_ids"
    assert (TraceTagKey.LINKED_PROMPTS, TraceTagKey.TRACE_NAME) == ("mlflow.linkedPrompts", "mlflow.traceName")
    assert (TraceMetadataKey.SOURCE_RUN, SpansLocation.TRACKING_STORE) == ("mlflow.sourceRun", "TRACKING_STORE")


def test_versions_are_linked_with_models_by_a_tag_of_the_model(client):
    """`registry.py`."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    assert MLFLOW_MODEL_VERSIONS == "mlflow.modelVersions"
    assert {"run_id", "model_id", "source", "tags"} <= set(inspect.signature(client.create_model_version).parameters)
    assert {"name", "source_run_id"} <= set(inspect.signature(client.create_logged_model).parameters)


def test_the_monitor_of_a_run_takes_its_id_and_the_tracker():
    """`runs.tracked_run`."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    assert {"run_id", "sampling_interval", "tracking_uri"} <= set(inspect.signature(SystemMetricsMonitor).parameters)
