import contextlib

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort
from prefect.runtime import flow_run

from tasks.execution import progress
from tasks.records.base import ProgressReference

pytestmark = pytest.mark.usefixtures("prefect_server")


def _shown(reference: ProgressReference) -> tuple[float, str]:
    with get_client(sync_client=True) as client:
        (artifact,) = [
            a
            for a in client.read_artifacts(limit=200, sort=ArtifactSort.CREATED_DESC)
            if str(a.id) == reference.artifacts[0]
        ]
    return float(artifact.data), artifact.description


def test_the_artifact_follows_the_work():
    seen = []

    @flow
    def work():
        with progress.shown("reports", 8) as reference:
            seen.append(_shown(reference))
            for units in (2, 0, 4):
                progress.advance(reference, units)
                seen.append(_shown(reference))
        seen.append(_shown(reference))
        progress.advance(reference, 1)  # a task that ends late moves nothing

    work()
    assert [share for share, _ in seen] == [0, 25, 25, 75, 100]
    assert [text for _, text in seen] == [
        "reports: 0 of 8", "reports: 2 of 8", "reports: 2 of 8", "reports: 6 of 8", "reports: 8 of 8",
    ]  # fmt: skip


def test_work_that_fails_stays_where_it_was():
    @flow
    def work():
        with contextlib.suppress(RuntimeError), progress.shown("reports", 8) as reference:
            progress.advance(reference, 2)
            raise RuntimeError
        progress.advance(reference, 1)
        return _shown(reference)

    assert work() == (25, "reports: 2 of 8")


def test_the_page_of_the_whole_run_shows_it_too_with_its_last_note():
    """Neither has a key, so that its card opens it."""
    seen = []

    @flow
    def part():
        with progress.shown("epochs", 2) as reference:
            progress.advance(reference, 1, "AUC 0.9")
        seen.extend(reference.artifacts)
        return str(flow_run.id)

    @flow
    def whole():
        return part(), str(flow_run.id)

    runs = whole()
    with get_client(sync_client=True) as client:
        found = {
            str(artifact.flow_run_id): artifact
            for artifact in client.read_artifacts(limit=200, sort=ArtifactSort.CREATED_DESC)
            if str(artifact.id) in seen
        }
    assert found.keys() == set(runs)
    for artifact in found.values():
        assert (artifact.key, artifact.type, float(artifact.data)) == (None, "progress", 100)
        assert artifact.description == "epochs: 2 of 2, AUC 0.9"


def test_nothing_to_do_is_all_done():
    @flow
    def work():
        with progress.shown("reports", 0) as reference:
            pass
        return _shown(reference)

    assert work() == (100, "reports: 0 of 0")
