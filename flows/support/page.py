"""The one artifact of a flow run: it opens from the run's page, and says first what a person wants to know first."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prefect.runtime import flow_run

from flows.support.headlines import headlines
from models.markdown import escape, link
from tasks.execution.artifacts import create_artifact, update_artifact
from tasks.execution.caching import Outcome
from tasks.records.base import StoredFile
from tasks.records.data import DatasetRecord
from tasks.shared.markdown import divide, document, figures_of, fold, join, place_pictures, table
from tasks.shared.png import with_few_colors
from tasks.storage.store import Store

_PICTURES = 4
OPENING_PICTURES = 2
"""Pictures that follow the first lines of a report."""
_SECTIONS = 3
_MOST_BYTES = 1_400_000  # Prefect publishes no event that is larger than 1.5 MB


@dataclass
class Page:
    """What the page of a run says, in the order in which it is read.

    Attributes:
        stage: name of the stage.
        metrics: its metrics, of which some are shown.
        dataset: its images.
        decision: what became of its product, and why: a classifier that is champion or not, an index in use or not.
        links: addresses by label.
        figures: PNG by name, the first of which stand above the report.
        others: PNG by name, which stand where the report has them.
        opening: the lines with which the report begins, Markdown; they say what data and decision would say.
        report: the stage's report, Markdown that begins with a title and notices.
        whole: address of the whole report; with it, the page has the first sections and names the others.
        steps: how its steps ended.
        pictures_first: whether the pictures stand above the figures in numbers.
    """

    stage: str
    links: dict[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    dataset: DatasetRecord | None = None
    decision: str = ""
    figures: Mapping[str, StoredFile] = field(default_factory=dict)
    others: Mapping[str, StoredFile] = field(default_factory=dict)
    opening: str = ""
    report: str = ""
    whole: str = ""
    steps: Sequence[Outcome] = ()
    pictures_first: bool = False

    def __post_init__(self) -> None:
        """Make the artifact, which leads to the tracker while the run is under way."""
        self._artifact = create_artifact("markdown", self._text(), "The run is under way.")

    def show(self) -> None:
        """Write what is known by now."""
        update_artifact(self._artifact, self._text(), self._card())

    def _rows(self) -> list[tuple[str, str, str, str]]:
        labels, several = (self.dataset.labels, self.dataset.several_labels) if self.dataset else ((), False)
        return headlines(self.stage, self.metrics, labels, several=several)

    def _card(self) -> str:
        rows = [
            f"{title} **{value}**" + (f" ({interval})" if interval else "")
            for title, value, interval, _ in self._rows()
        ]
        said = [*rows[:2], *filter(None, [escape(self.decision)])]
        return " · ".join(said) or "The run ended early: its state says why."

    def _text(self) -> str:
        phantoms = self.dataset is not None and self.dataset.phantoms
        report = self.report or document(str(flow_run.name), (), phantoms=phantoms)
        captions, names = figures_of(report), list(self.figures)[:_PICTURES]
        first = names[:OPENING_PICTURES] if self.opening else names
        after = [name for name in names if name not in (*first, *captions)]
        head, pictures, sections = divide(report, first)
        left = sections[_SECTIONS:] if self.whole else ()
        text = join(map(fold, sections[: len(sections) - len(left)]))
        further = [_placed(name) for name in after]
        links = " · ".join(link(label, address) for label, address in self.links.items())
        if self.opening:
            parts = [head, self.opening, links, *pictures, *self._summary(), *further]
        elif self.pictures_first:
            parts = [head, *pictures, *self._summary(), *self._about(), links]
        else:
            parts = [head, *self._summary(), *self._about(), links, *pictures]
        data = self._pictures([*first, *after, *figures_of(text)], len(report))
        page = place_pictures(join([*parts, text]), data.get)
        if left:
            headings = ", ".join(section.partition("\n")[0].removeprefix("## ") for section in left)
            page += f"\nFurther sections are in {link('the report', self.whole)}: {headings}.\n"
        if missing := [_title(name) for name in {**self.figures, **captions} if name not in data]:
            page += f"\nFurther figures are in the MLflow run: {', '.join(missing)}.\n"
        return join([page, self._steps()])

    def _summary(self) -> list[str]:
        rows = self._rows()
        if any(interval for _, _, interval, _ in rows):
            return ["## Results in short", table(["", "value", "95 % interval", "meaning"], rows).rstrip()]
        short = [(title, value, meaning) for title, value, _, meaning in rows]
        return ["## Results in short", table(["", "value", "meaning"], short).rstrip()] if rows else []

    def _about(self) -> list[str]:
        parts = []
        if self.dataset is not None:
            counts = ", ".join(f"{count} {split}" for split, count in self.dataset.counts.items())
            side = self.dataset.size
            parts.append(f"**Dataset:** {escape(self.dataset.title)}: {counts} images of {side} × {side} pixels")
        if self.decision:
            parts.append(f"**Decision:** {escape(self.decision)}")
        return parts

    def _pictures(self, names: Sequence[str], size: int) -> dict[str, str]:
        """Give pictures as data, the one form in which the UI shows one beside text, as long as there is room."""
        store, data, figures = Store(), dict[str, str](), {**self.others, **self.figures}
        for name in dict.fromkeys(names):
            if name in figures:
                encoded = base64.b64encode(with_few_colors(store.get(figures[name]))).decode()
                size += len(encoded)
                if size < _MOST_BYTES:
                    data[name] = f"data:image/png;base64,{encoded}"
        return data

    def _steps(self) -> str:
        if not self.steps:
            return ""
        rows = [(step.step, "hit" if step.hit else "run", f"{step.seconds:.2f}", step.why) for step in self.steps]
        return fold("## Steps\n\n" + table(["step", "hit or run", "seconds", "why"], rows))


def _placed(name: str) -> str:
    return f"![{_title(name)}](figures/{name}.png)\n"


def _title(name: str) -> str:
    return escape(name.replace("_", " "))
