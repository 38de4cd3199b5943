"""What a flow shows on the page of its run in the Prefect UI."""

import base64
from collections.abc import Mapping, Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from models.markdown import escape
from tasks.execution.caching import Outcome
from tasks.records.base import DocumentRecord, StoredFile
from tasks.storage.store import Store

_MOST_BYTES = 1_400_000  # Prefect publishes no event that is larger than 1.5 MB


def show_document(stage: str, document: DocumentRecord, figures: Mapping[str, StoredFile]) -> None:
    """Show a stage's report with some of its figures.

    Args:
        stage: name of the stage, which names the artifact.
        document: the report.
        figures: PNG by title. They are put into the markdown as data, the one form in which the UI shows a picture
            beside text without another server.
    """
    store = Store()
    text = store.get(document.document).decode()
    for title, stored in figures.items():
        picture = f"\n![{escape(title)}](data:image/png;base64,{base64.b64encode(store.get(stored)).decode()})\n"
        fits = len(text) + len(picture) < _MOST_BYTES
        text += picture if fits else f"\nThe figure *{escape(title)}* is in the MLflow run.\n"
    create_markdown_artifact(text, key=f"{stage}-report", description="Report with figures")


def show_results(stage: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Show the metrics that matter.

    Args:
        stage: name of the stage, which names the artifact.
        rows: a metric each.
    """
    create_table_artifact([dict(row) for row in rows], key=f"{stage}-results", description="Results in short")


def show_steps(stage: str, outcomes: Sequence[Outcome]) -> None:
    """Show which steps hit the cache and which ran, why, and for how long.

    Args:
        stage: name of the stage, which names the artifact.
        outcomes: how the steps ended.
    """
    rows = [
        {
            "step": outcome.step,
            "hit or run": "hit" if outcome.hit else "run",
            "why": outcome.why,
            "seconds": round(outcome.seconds, 2),
        }
        for outcome in outcomes
    ]
    create_table_artifact(rows, key=f"{stage}-steps", description="Steps: hit or run, and why")
