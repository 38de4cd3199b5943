"""A small generator for tests: it writes in batches of two, and counts what it was asked to write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.report_generation.generator import NOTHING_DONE, Row, Written
from models.report_generation.schema import Case, Report, Request

CASE = Case(index=0, image_sha256="", probability=0.8, threshold=0.5, heat_region="no focus", heat_share=0)


@dataclass
class PairGenerator:
    """Writes the mean of the image and the prompt; fails on the rows of the cases in `poison`."""

    poison: tuple[int, ...] = ()
    written: list[str] = field(default_factory=list)
    name = "pairs"
    identity: ClassVar = {"version": 1}
    strategies = ("plain", "informed")
    prompts = ()

    @property
    def code(self):
        return PairGenerator

    def settings(self, strategy: str) -> dict[str, object]:
        return {"version": 3}

    def prompt(self, request: Request) -> str:
        told = request.case.probability if request.strategy == "informed" else "nothing"
        asked = "What is it?" if request.control == "paraphrase" else "What do you see?"
        return f"{asked} The classifier says {told}."

    def prepare(self) -> None:
        """Nothing to prepare."""

    def write(
        self, rows: Sequence[Row], images: NDArray[np.uint8], done: Mapping[str, int] = NOTHING_DONE
    ) -> Iterator[list[Written]]:
        missing = [row for row in rows if row.id not in done]
        for start in range(0, len(missing), 2):
            batch = missing[start : start + 2]
            self.written += [row.id for row in batch]
            yield [self._one(row, images) for row in batch]

    def _one(self, row: Row, images: NDArray[np.uint8]) -> Written:
        request = row.request
        if request.case.index in self.poison:
            return Written(row_id=row.id, error="ValueError: poison")
        seen = "nothing" if request.image is None else f"{images[request.image].mean():.3f}"
        return Written(row_id=row.id, text=f"{self.prompt(request)} I see {seen}.")

    def read(self, request: Request, text: str) -> Report:
        raise AssertionError("nobody reads these")


def case(index: int) -> Case:
    return CASE.model_copy(update={"index": index, "probability": 0.1 + 0.1 * index})


def row(name: str, index: int = 0, image: int | None = 0) -> Row:
    return Row(id=name, request=Request(case=case(index), image=image, image_sha256="", strategy="plain"))
