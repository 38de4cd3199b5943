"""What a stage has produced, and the places where it is published: each is a function in `PLACES`."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect.runtime import flow_run
from pydantic import BaseModel

from flows.support.artifacts import show_document, show_steps
from tasks.execution.caching import outcomes
from tasks.records.base import DocumentRecord, FindingsRecord, RunReference, StoredFile
from tasks.shared.markdown import place_pictures
from tasks.storage.store import Store
from tasks.tracking import runs

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


@dataclass(frozen=True)
class Products:
    """What a stage has produced.

    Attributes:
        stage: its name.
        document: its report.
        metrics: figures of its own; those of the findings come beside them.
        figures: PNG by name; likewise.
        findings: of its analyses.
        files: other files by path.
        tables: titles of the columns and rows of JSON values, by path.
        shown: names of the figures that are shown with the report, those which there are.
    """

    stage: str
    document: DocumentRecord
    metrics: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, StoredFile] = field(default_factory=dict)
    findings: Sequence[FindingsRecord] = ()
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    shown: Sequence[str] = ()

    def all_metrics(self) -> dict[str, float]:
        """Return the metrics, those of the findings included."""
        return dict(self.metrics) | {name: value for found in self.findings for name, value in found.metrics.items()}

    def all_figures(self) -> dict[str, StoredFile]:
        """Return the figures, those of the findings included."""
        return dict(self.figures) | {name: png for found in self.findings for name, png in found.figures.items()}

    def all_files(self) -> dict[str, StoredFile]:
        """Return every file by the path at which it is published."""
        files = {f"figures/{name}.png": png for name, png in self.all_figures().items()}
        files |= {f"findings/{found.name}.json": found.findings for found in self.findings}
        return files | dict(self.files) | {"report.md": self._report()}

    def shown_figures(self) -> dict[str, StoredFile]:
        """Return the figures that are shown with the report, in their order."""
        figures = self.all_figures()
        return {name: figures[name] for name in self.shown if name in figures}

    def _report(self) -> StoredFile:
        """Return the report without the figures that turned out not to be drawn."""
        store, figures = Store(), self.all_figures()
        text = store.get(self.document.document).decode()
        placed = place_pictures(text, lambda name: f"figures/{name}.png" if name in figures else None)
        return self.document.document if placed == text else store.put(placed.encode(), "text/markdown")


def to_tracker(run: RunReference, products: Products) -> None:
    """Log everything to the stage's run of the tracker."""
    runs.log_metrics(run, products.all_metrics())
    for path, (columns, rows) in products.tables.items():
        runs.log_table(run, path, columns, rows)
    runs.log_files(run, products.all_files())
    if products.shown_figures():
        runs.log_images(run, products.shown_figures())


def to_prefect(run: RunReference, products: Products) -> None:
    """Show the report with its figures on the page of the flow run."""
    show_document(
        products.stage,
        products.document,
        products.shown_figures(),
        further=list(products.all_figures()),
        link=lambda path: runs.page_of_file(run, path),
    )


PLACES: tuple[Callable[[RunReference, Products], None], ...] = (to_tracker, to_prefect)


def publish(run: RunReference, products: Products) -> None:
    """Publish what a stage has produced in every place.

    Args:
        run: the stage's run of the tracker.
        products: what it has produced.
    """
    for place in PLACES:
        place(run, products)


@contextlib.contextmanager
def stage_run(stage: str, forms: Mapping[str, BaseModel]) -> Iterator[RunReference]:
    """Track a stage from its begin to its end, and show then how its steps ended.

    Args:
        stage: its name.
        forms: the forms of its flow.

    Yields:
        The stage's run of the tracker.
    """
    with runs.tracked_run(stage, forms) as run:
        yield run
        show_steps(stage, outcomes([str(flow_run.id)]))
