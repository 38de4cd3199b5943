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
from tasks.shared.markdown import document, figures_of, place_pictures, table
from tasks.shared.png import with_few_colors
from tasks.storage.store import Store

_PICTURES = 4
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
        figures: PNG by name, the first of which stand above the report, and others where it has them.
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
        captions, data = figures_of(report), self._pictures(len(report))
        first = [name for name in self.figures if name in data][:_PICTURES]
        pictures = [
            place_pictures(f"{captions[name]}\n", data.get) if name in captions else f"![{_title(name)}]({data[name]})"
            for name in first
        ]
        report = place_pictures(report, lambda name: None if name in first else data.get(name))
        opening, *sections = report.split("\n## ")
        sections = [section.strip() for section in sections if "\n" in section.strip()]  # its pictures may stand above
        shown = sections[:_SECTIONS] if self.whole else sections
        text = "\n\n".join(f"## {section}" for section in shown)
        summary = self._summary()
        parts = [opening.rstrip(), *([*pictures, *summary] if self.pictures_first else [*summary, *pictures]), text]
        if left := [section.partition("\n")[0] for section in sections[len(shown) :]]:
            parts.append(f"Further sections are in {link('the report', self.whole)}: {', '.join(left)}.")
        placed = {*first, *(name for name in captions if f"]({data.get(name)})" in text)}
        further = [_title(name) for name in {**self.figures, **captions} if name not in placed]
        parts += [f"Further figures are in the MLflow run: {', '.join(further)}."] if further else []
        return "\n\n".join(filter(None, map(str.strip, [*parts, self._steps()]))) + "\n"

    def _summary(self) -> list[str]:
        rows, parts = self._rows(), []
        if rows and any(interval for _, _, interval, _ in rows):
            parts += ["## Results in short", table(["", "value", "95 % interval", "meaning"], rows).rstrip()]
        elif rows:
            short = [(title, value, meaning) for title, value, _, meaning in rows]
            parts += ["## Results in short", table(["", "value", "meaning"], short).rstrip()]
        if self.dataset is not None:
            counts = ", ".join(f"{count} {split}" for split, count in self.dataset.counts.items())
            side = self.dataset.size
            parts.append(f"**Dataset:** {escape(self.dataset.title)}: {counts} images of {side} × {side} pixels")
        if self.decision:
            parts.append(f"**Decision:** {escape(self.decision)}")
        parts.append(" · ".join(link(label, address) for label, address in self.links.items()))
        return parts

    def _pictures(self, size: int) -> dict[str, str]:
        """Give pictures as data, the one form in which the UI shows one beside text, as long as there is room."""
        store, data = Store(), {}
        for name, stored in self.figures.items():
            encoded = base64.b64encode(with_few_colors(store.get(stored))).decode()
            size += len(encoded)
            if size < _MOST_BYTES:
                data[name] = f"data:image/png;base64,{encoded}"
        return data

    def _steps(self) -> str:
        if not self.steps:
            return ""
        rows = [(step.step, "hit" if step.hit else "run", f"{step.seconds:.2f}", step.why) for step in self.steps]
        return "## Steps\n\n" + table(["step", "hit or run", "seconds", "why"], rows).rstrip()


def _title(name: str) -> str:
    return escape(name.replace("_", " "))
