"""Artifacts that open at once from the page of their run, and that change while it goes on.

A card in the Prefect UI leads to its artifact only where the artifact has no key: one with a key leads to the list of
all runs that made one of that name. What is shown must not end or delay what is done: where the server is away, an
artifact is not made, or stays as it is.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings

from tasks.storage.locations import OVERVIEW

_impatient: tuple[Settings, Settings] | None = None  # settings, and the same without retries


def create_artifact(kind: str, data: Any, description: str, *, also_on_parent: bool = False) -> tuple[str, ...]:
    """Make an artifact without a key on the page of the current flow run.

    Args:
        kind: `markdown` or `progress`.
        data: its content: Markdown, or a percentage.
        description: Markdown on its card.
        also_on_parent: make another one on the page of the run that this one is a part of.

    Returns:
        The ids of the artifacts, for `update_artifact`.
    """
    runs = [flow_run.id, *([flow_run.parent_flow_run_id] if also_on_parent else [])]
    made = []
    for run in filter(None, runs):
        artifact = ArtifactCreate(type=kind, data=data, description=description, flow_run_id=UUID(str(run)))
        with _client() as client:
            made.append(str(client.create_artifact(artifact).id))
    return tuple(made)


def update_artifact(artifacts: Sequence[str], data: Any, description: str) -> None:
    """Change artifacts.

    Args:
        artifacts: their ids.
        data: the new content.
        description: the new text on their cards.
    """
    for artifact in artifacts:
        with _client() as client:
            client.update_artifact(UUID(artifact), ArtifactUpdate(data=data, description=description))


def write_overview(text: str, *, anew: bool = True) -> None:
    """Write the start page: the artifact `overview`, of which there is one, so that its address stays.

    Args:
        text: Markdown.
        anew: replace the text of one that is there.
    """
    said = "Start page: best run, champion, last retrieval and drift, and where to look"
    with get_client(sync_client=True) as client:
        known = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[OVERVIEW])), limit=1)
        if not known:
            client.create_artifact(ArtifactCreate(key=OVERVIEW, type="markdown", data=text, description=said))
        elif anew:
            client.update_artifact(known[0].id, ArtifactUpdate(data=text, description=said))


@contextlib.contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    with (
        contextlib.suppress(PrefectHTTPStatusError, httpx.TransportError),
        _no_retries(),
        get_client(sync_client=True) as client,
    ):
        yield client


def _no_retries() -> SettingsContext:
    """Let requests fail at the first try; the settings for it are made once, which takes longer than a request."""
    global _impatient
    context, known = get_settings_context(), _impatient
    if known is None or known[0] is not context.settings:
        changed = context.settings.copy_with_update(updates={PREFECT_CLIENT_MAX_RETRIES: 0})
        known = _impatient = context.settings, changed
    return SettingsContext(profile=context.profile, settings=known[1])
