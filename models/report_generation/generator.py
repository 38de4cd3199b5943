"""What writes reports: the interface that every generator has, and the identity of a row."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from models.report_generation.prompting import Strategy
from models.report_generation.schema import DecidedBy, Report, Request, Share, Usage


class Row(BaseModel):
    """One text to be written.

    Attributes:
        id: digest of all that decides the text.
        request: what is asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    request: Request


class Written(BaseModel):
    """What came of a row, before anyone read it.

    Attributes:
        row_id: the row.
        text: what was written; empty where it failed.
        score: P(yes) of a yes-or-no question, or None for a report.
        choice_mass: P(Yes) + P(No): how much of the answer's probability the two choices hold; None where it is not
            known.
        decided_by: how a server was made to answer the yes-or-no question; None where no server was.
        usage: what it took, or None where it failed.
        error: why it failed, or None.
        batch_limit: rows in the largest batch that was tried at the time, by which a later run finds the batches of an
            undisturbed one; None where rows do not share batches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row_id: str
    text: str = ""
    score: Share | None = None
    choice_mass: Share | None = None
    decided_by: DecidedBy | None = None
    usage: Usage | None = None
    error: str | None = None
    batch_limit: int | None = None


NOTHING_DONE: Mapping[str, int] = MappingProxyType({})


class ReportGenerator(Protocol):
    """What writes reports."""

    @property
    def name(self) -> str:
        """Short name, as in `Provenance.generator`."""

    @property
    def identity(self) -> Mapping[str, object]:
        """What decides all its texts beside the requests: model, revision, precision; JSON values."""

    @property
    def code(self) -> Callable[..., object]:
        """The class or function whose code makes the texts."""

    @property
    def strategies(self) -> tuple[str, ...]:
        """The ways in which it writes, one report each."""

    @property
    def prompts(self) -> tuple[Strategy, ...]:
        """The prompting strategies' files, for a language model."""

    def settings(self, strategy: str) -> Mapping[str, object]:
        """What decides the texts of one strategy beside their prompts; JSON values."""

    def prompt(self, request: Request) -> str:
        """Return all that it is told in words."""

    def prepare(self) -> None:
        """Do what needs no GPU and takes long, such as compiling a grammar, before one is held."""

    def write(
        self, rows: Sequence[Row], images: NDArray[np.uint8], done: Mapping[str, int] = NOTHING_DONE
    ) -> Iterator[list[Written]]:
        """Write the rows' texts.

        Args:
            rows: all rows of a task, in any order, those that are done among them, so that the batches are those of an
                undisturbed run.
            images: what their requests' `image` counts in, shape (images, height, width), 0–255.
            done: rows that are written already and are not written again, by id, each with its `Written.batch_limit`,
                or 0 where it has none.

        Yields:
            Each finished batch as soon as it is done; every row that is not done once, written or failed.
        """

    def read(self, request: Request, text: str) -> Report:
        """Read the report out of what was written.

        Raises:
            UnreadableReport: there is none in it.
        """


def row_of(generator: ReportGenerator, request: Request) -> Row:
    """Identify what a request asks for.

    Two requests that show the same image and say the same words are one row, whichever case they were made for.

    Args:
        generator: what is to write it.
        request: what is asked for.

    Returns:
        The row; its id is a SHA-256.
    """
    decisive = {
        "image": request.image_sha256,
        "prompt": generator.prompt(request),
        "strategy": request.strategy,
        "control": request.control,
        "settings": dict(generator.settings(request.strategy)),
        "generator": dict(generator.identity),
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    return Row(id=digest, request=request)
