"""What an analysis found, before it is stored: metrics, figures, and its part of the stage's report."""

from dataclasses import dataclass
from typing import Any

from tasks.records.base import FindingsRecord
from tasks.storage.store import Store


@dataclass(frozen=True)
class Findings:
    """What an analysis found.

    Attributes:
        name: of the analysis, `trust` for instance.
        metrics: figures for the tracker.
        details: JSON of everything that was found.
        figures: PNG by name.
        sections: parts of the stage's report, title and markdown of each.
    """

    name: str
    metrics: dict[str, float]
    details: Any
    figures: dict[str, bytes]
    sections: tuple[tuple[str, str], ...]

    def stored(self, store: Store) -> FindingsRecord:
        """Store the details and the figures."""
        return FindingsRecord(
            name=self.name,
            metrics=self.metrics,
            findings=store.put_json(self.details),
            figures=store.put_pictures(self.figures),
            sections=self.sections,
        )
