"""What a stage has produced, and the places where it is published: each is a function in `PLACES`."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect.runtime import flow_run
from pydantic import BaseModel

from flows.support.opening import Finding, opening
from flows.support.overview import show_overview
from flows.support.page import OPENING_PICTURES, Page
from models.markdown import link
from tasks.execution.caching import outcomes
from tasks.records.base import DocumentRecord, FindingsRecord, RunReference, StoredFile
from tasks.records.data import DatasetRecord
from tasks.shared.html_page import html_page
from tasks.shared.markdown import divide, figures_of, join, place_links, place_pictures
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
        ran: what was run, in words, with which the report begins.
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
    ran: str = ""
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
        """Return every file but the report, by the path at which it is published."""
        files = {f"figures/{name}.png": png for name, png in self.all_figures().items()}
        files |= {f"findings/{found.name}.json": found.findings for found in self.findings}
        for found in self.findings:
            files |= found.files
        return files | dict(self.files)

    def shown_figures(self) -> dict[str, StoredFile]:
        """Return the figures that are shown with the report, in their order."""
        figures = self.all_figures()
        return {name: figures[name] for name in self.shown if name in figures}

    def report(self) -> str:
        """Return the report, Markdown, without the figures that turned out not to be drawn."""
        figures = self.all_figures()
        text = Store().get(self.document.document).decode()
        return place_pictures(text, lambda name: f"figures/{name}.png" if name in figures else None)


@dataclass(frozen=True)
class Stage:
    """A stage under way.

    Attributes:
        run: its run of the tracker.
        page: the artifact on the page of its flow run, which is written when the stage ends.
    """

    run: RunReference
    page: Page


def to_tracker(stage: Stage, products: Products) -> None:
    """Log everything but the report to the stage's run of the tracker."""
    run = stage.run
    runs.log_metrics(run, products.all_metrics())
    for path, (columns, rows) in products.tables.items():
        runs.log_table(run, path, columns, rows)
    runs.log_files(run, products.all_files())
    if products.shown_figures():
        runs.log_images(run, products.shown_figures())
    links = {said: runs.place_of(run, path) for said, path in _pages(products).items()}
    runs.log_links(run, links | dict(products.links))


def report_to_tracker(stage: Stage, products: Products) -> None:
    """Log the report, as Markdown and as a page with its figures, since MLflow shows no picture in Markdown."""
    store, figures, text = Store(), products.all_figures(), products.report()
    if lines := opening_lines(stage, products):
        head, first, sections = divide(text, list(products.shown_figures())[:OPENING_PICTURES])
        whole = link("The report with its figures", runs.page_of_file(stage.run, _REPORT))
        text, page = (join([head, lines, *more, *first, *sections]) for more in ((whole,), ()))
    else:
        page = text
    shown = products.shown_figures() | {name: figures[name] for name in figures_of(page)}
    pictures = {f"figures/{name}.png": store.get(png) for name, png in shown.items()}
    files = {"report.md": (text, "text/markdown"), _REPORT: (html_page(page, pictures), "text/html")}
    runs.log_files(stage.run, {path: store.put(text.encode(), kind) for path, (text, kind) in files.items()})


def report_to_prefect(stage: Stage, products: Products) -> None:
    """Let the page of the flow run say what there is."""
    page = stage.page
    page.dataset, page.metrics = products.dataset, products.all_metrics()
    page.figures, page.others = products.shown_figures(), products.all_figures()
    page.opening = opening_lines(stage, products)
    page.report = place_links(products.report(), lambda path: runs.page_of_file(stage.run, path))
    page.whole = runs.page_of_file(stage.run, _REPORT)
    page.links |= {said: runs.page_of_file(stage.run, path) for said, path in _pages(products).items()}


def opening_lines(stage: Stage, products: Products) -> str:
    """Write the five lines with which the report of a stage begins; nothing for a stage that has none."""
    found = Finding(products.ran, products.all_metrics(), products.dataset, stage.page.decision)
    return opening(stage.page.stage, found)


def _pages(products: Products) -> dict[str, str]:
    """Return the files of a run that are pages of their own, by what is said of them."""
    return {"report with figures": _REPORT} | dict(products.pages)


PLACES: tuple[Callable[[Stage, Products], None], ...] = (to_tracker,)
REPORT_PLACES: tuple[Callable[[Stage, Products], None], ...] = (report_to_tracker, report_to_prefect)


def publish(stage: Stage, products: Products, decide: Callable[[], str] | None = None) -> None:
    """Publish what a stage has produced in every place, and its report last, since it says what became of it all.

    Args:
        stage: the stage.
        products: what it has produced.
        decide: decides what becomes of its product once that is published, a classifier or an index, and says so.
    """
    for place in PLACES:
        place(stage, products)
    try:
        stage.page.decision = decide() if decide is not None else ""
    finally:  # where nothing could be decided, there is a report all the same
        for place in REPORT_PLACES:
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
