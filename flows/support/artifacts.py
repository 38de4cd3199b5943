"""What a flow shows on the page of its run in the Prefect UI."""

import base64
from collections.abc import Callable, Collection, Mapping, Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from models.markdown import escape
from tasks.execution.caching import Outcome
from tasks.records.base import DocumentRecord, StoredFile
from tasks.shared.markdown import names_of_pictures, place_links, place_pictures
from tasks.shared.png import with_few_colors
from tasks.storage.store import Store

_MOST_BYTES = 1_400_000  # Prefect publishes no event that is larger than 1.5 MB


def show_document(
    stage: str,
    document: DocumentRecord,
    figures: Mapping[str, StoredFile],
    *,
    further: Collection[str] = (),
    link: Callable[[str], str] | None = None,
) -> None:
    """Show a stage's report with some of its figures, each where the report has it, or else behind it.

    Args:
        stage: name of the stage, which names the artifact.
        document: the report.
        figures: PNG by name. They are put into the markdown as data, the one form in which the UI shows a picture
            beside text without another server.
        further: names of figures that are not shown, but may be seen in the tracker.
        link: gives the address of a file that the report names by its path.
    """
    store = Store()
    text = store.get(document.document).decode()
    data: dict[str, str] = {}
    size = len(text)
    for name, stored in figures.items():
        picture = f"data:image/png;base64,{base64.b64encode(with_few_colors(store.get(stored))).decode()}"
        if size + len(picture) < _MOST_BYTES:
            data[name] = picture
            size += len(picture)
    placed = names_of_pictures(text)
    text = place_pictures(text, data.get)
    text += "".join(f"\n![{escape(name)}]({data[name]})\n" for name in data if name not in placed)
    left = [name.replace("_", " ") for name in dict.fromkeys([*figures, *further]) if name not in data]
    if left:
        text += f"\nFurther figures are in the MLflow run: {escape(', '.join(left))}.\n"
    if link is not None:
        text = place_links(text, link)
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
