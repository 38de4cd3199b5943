"""The artifacts on the page of a flow run, as its cards lead to them."""

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact


def artifacts_of(flow_run_id: str) -> list[Artifact]:
    """Return the artifacts that a flow run has made, without those that the server makes of its states."""
    only = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(flow_run_filter=only, limit=200)
    return [artifact for artifact in found if artifact.type in ("markdown", "progress")]


def page_of(flow_run_id: str) -> str:
    """Return the one Markdown artifact of a flow run, which has no key, so that its card opens it."""
    (page,) = [artifact for artifact in artifacts_of(flow_run_id) if artifact.type == "markdown"]
    assert page.key is None
    return str(page.data)
