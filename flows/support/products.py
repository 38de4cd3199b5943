"""What a stage has produced, and the places where it is published: each is a function in `PLACES`."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect.runtime import flow_run
from pydantic import BaseModel

from flows.support.overview import show_overview
from flows.support.page import Page
from tasks.execution.caching import outcomes
from tasks.records.base import DocumentRecord, FindingsRecord, RunReference, StoredFile
from tasks.records.data import DatasetRecord
from tasks.shared.html_page import html_page
from tasks.shared.markdown import figures_of, place_links, place_pictures
from tasks.storage.store import Store
from tasks.tracking import runs

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]
_REPORT = "report.html"


@dataclass(frozen=True)
class Products:
    """What a stage has produced.

    Attributes:
        dataset: its images.
        document: its report.
        metrics: figures of its own; those of the findings come beside them.
        figures: PNG by name; likewise.
        findings: of its analyses.
        files: other files by path.
        tables: titles of the columns and rows of JSON values, by path.
        shown: names of the figures that are shown with the report, those which there are.
        pages: paths of files that are pages of their own, by what is said of them.
        links: addresses of other pages of the tracker, by what is said of them.
    """

    dataset: DatasetRecord
    document: DocumentRecord
    metrics: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, StoredFile] = field(default_factory=dict)
    findings: Sequence[FindingsRecord] = ()
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    shown: Sequence[str] = ()
    pages: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

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
        for found in self.findings:
            files |= found.files
        return files | dict(self.files) | {"report.md": self.report().document}

    def shown_figures(self) -> dict[str, StoredFile]:
        """Return the figures that are shown with the report, in their order."""
        figures = self.all_figures()
        return {name: figures[name] for name in self.shown if name in figures}

    def report(self) -> DocumentRecord:
        """Return the report without the figures that turned out not to be drawn."""
        store, figures = Store(), self.all_figures()
        text = store.get(self.document.document).decode()
        placed = place_pictures(text, lambda name: f"figures/{name}.png" if name in figures else None)
        return self.document if placed == text else DocumentRecord(document=store.put(placed.encode(), "text/markdown"))


@dataclass(frozen=True)
class Stage:
    """A stage under way.

    Attributes:
        run: its run of the tracker.
        page: the artifact on the page of its flow run, which is written when the stage ends.
    """

    run: RunReference
    page: Page


def report_page(products: Products) -> StoredFile:
    """Store the report as a page with its figures, for viewers that show no picture in Markdown."""
    store = Store()
    text = store.get(products.report().document).decode()
    shown = products.shown_figures() | {name: products.all_figures()[name] for name in figures_of(text)}
    page = html_page(text, {f"figures/{name}.png": store.get(png) for name, png in shown.items()})
    return store.put(page.encode(), "text/html")


def to_tracker(stage: Stage, products: Products) -> None:
    """Log everything to the stage's run of the tracker."""
    run = stage.run
    runs.log_metrics(run, products.all_metrics())
    for path, (columns, rows) in products.tables.items():
        runs.log_table(run, path, columns, rows)
    page = report_page(products)
    runs.log_files(run, products.all_files() | {_REPORT: page})
    if products.shown_figures():
        runs.log_images(run, products.shown_figures())
    links = {said: runs.place_of(run, path) for said, path in _pages(products).items()}
    runs.log_links(run, links | dict(products.links))


def to_prefect(stage: Stage, products: Products) -> None:
    """Let the page of the flow run say what there is."""
    page = stage.page
    page.dataset, page.metrics, page.figures = products.dataset, products.all_metrics(), products.shown_figures()
    report = Store().get(products.report().document).decode()
    page.report = place_links(report, lambda path: runs.page_of_file(stage.run, path))
    page.whole = runs.page_of_file(stage.run, _REPORT)
    page.links |= {said: runs.page_of_file(stage.run, path) for said, path in _pages(products).items()}


def _pages(products: Products) -> dict[str, str]:
    """Return the files of a run that are pages of their own, by what is said of them."""
    return {"report with figures": _REPORT} | dict(products.pages)


PLACES: tuple[Callable[[Stage, Products], None], ...] = (to_tracker, to_prefect)


def publish(stage: Stage, products: Products) -> None:
    """Publish what a stage has produced in every place.

    Args:
        stage: the stage.
        products: what it has produced.
    """
    for place in PLACES:
        place(stage, products)


@contextlib.contextmanager
def stage_run(name: str, forms: Mapping[str, BaseModel]) -> Iterator[Stage]:
    """Track a stage from its begin to its end, and have a page that says how it ended.

    Args:
        name: name of the stage.
        forms: the forms of its flow.

    Yields:
        The stage.
    """
    with runs.tracked_run(name, forms) as run:
        page = Page(name, {"MLflow run": runs.page_of(run)})
        try:
            yield Stage(run, page)
            page.steps = page.steps or outcomes([str(flow_run.id)])
        finally:
            page.show()
    if flow_run.parent_flow_run_id is None:
        show_overview()
