"""Reports by MedGemma: prompting strategies put to a language model that sees the image."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.report_generation.generator import NOTHING_DONE, Row, Written
from models.report_generation.medgemma.source import Source
from models.report_generation.parsing import read_report, report_json_schema
from models.report_generation.prompting import YES_NO, Strategy, load_strategy, render
from models.report_generation.schema import Provenance, Report, Request, Usage

if TYPE_CHECKING:  # PyTorch and transformers take seconds to import, and only writing needs them
    from models.report_generation.medgemma.checkpoint import Precision
    from models.report_generation.medgemma.engine import Completion, Prompt

AUTHORSHIP = "A language model wrote this text. No radiologist has seen it."


@dataclass(frozen=True)
class MedGemmaGenerator:
    """Writes reports with a MedGemma checkpoint; the model is loaded when the first row is written.

    Attributes:
        source: where the weights come from.
        precision: number format of the weights.
        device: "cuda" or "cpu".
        report_strategies: prompting strategies, one report each.
        image_first: whether the image stands before the text of the prompt.
        batch_size: reports at once, or None to find how many fit.
        dataset: name of the dataset.
        classifier_sha256: digest of the classifier's weights.
        phantoms: whether the images are drawn phantoms.
        token: access token of the hub, or None.
    """

    source: Source
    precision: "Precision"
    device: str
    report_strategies: tuple[str, ...]
    image_first: bool
    batch_size: int | None
    dataset: str
    classifier_sha256: str
    phantoms: bool
    token: str | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Short name of the generator."""
        return "medgemma"

    @property
    def identity(self) -> Mapping[str, object]:
        """The checkpoint and how it is run. The batch size is left out: it is not meant to matter, and is audited."""
        return {
            "model": self.source.model,
            "revision": self.source.revision,
            "precision": self.precision,
            "image_first": self.image_first,
            "decoding": "greedy",
        }

    @property
    def code(self) -> Callable[..., object]:
        """The engine makes the texts; reading them is no part of it."""
        from models.report_generation.medgemma.engine import Engine

        return Engine

    @property
    def strategies(self) -> tuple[str, ...]:
        """The report strategies and the yes-or-no question."""
        return (*self.report_strategies, YES_NO)

    @property
    def prompts(self) -> tuple[Strategy, ...]:
        """The strategies' files."""
        return tuple(load_strategy(name) for name in self.strategies)

    def settings(self, strategy: str) -> Mapping[str, object]:
        """Version of the prompt file, length limit and schema of the answer."""
        chosen = load_strategy(strategy)
        schema = report_json_schema() if chosen.output == "json" else None
        return {"version": chosen.version, "max_new_tokens": chosen.max_new_tokens, "json_schema": schema}

    def prompt(self, request: Request) -> str:
        """Return the system and the user message."""
        rendered = render(load_strategy(request.strategy), request)
        return "\n\n".join(part for part in (rendered.system, rendered.user) if part)

    def prepare(self) -> None:
        """Compile the grammars that answers are held to."""

    def write(
        self, rows: Sequence[Row], images: NDArray[np.uint8], done: Mapping[str, int] = NOTHING_DONE
    ) -> Iterator[list[Written]]:
        """Write the rows' texts in batches on the device.

        Args:
            rows: all rows of a task, in any order.
            images: what their requests' `image` counts in, shape (images, height, width), 0–255.
            done: rows that are written already, by id, each with its `Written.batch_limit`, or 0 where it has none.

        Yields:
            Each finished batch as soon as it is done; every row that is not done once, written or failed.

        Raises:
            InputError: the model cannot be had or does not fit.
        """
        from models.report_generation.medgemma.checkpoint import loaded_model
        from models.report_generation.medgemma.engine import Engine

        engine = Engine(loaded_model(self.source, self.precision, self.device, self.token), self.batch_size)
        for batch in engine.run([self._asked(row) for row in rows if row.id not in done], images):
            yield [
                *(_written(completion) for completion in batch.completions),
                *(Written(row_id=failure.key, error=failure.error) for failure in batch.failures),
            ]

    def read(self, request: Request, text: str) -> Report:
        """Read the report out of what was written.

        Raises:
            UnreadableReport: there is none in it.
        """
        strategy = load_strategy(request.strategy)
        if strategy.output == "yes_no":
            raise ValueError(f"{request.strategy} asks for no report")
        content = read_report(text, strategy.output)
        return Report(
            **content.model_dump(exclude={"limitations"}),
            case_index=request.case.index,
            limitations=(*self._notices(), AUTHORSHIP, *content.limitations),
            provenance=self._provenance(request.strategy, strategy.version),
        )

    def _asked(self, row: Row) -> "Prompt":
        from models.report_generation.medgemma.engine import Prompt

        request = row.request
        strategy = load_strategy(request.strategy)
        rendered = render(strategy, request)
        return Prompt(
            key=row.id,
            text=rendered.user,
            system=rendered.system,
            image=request.image,
            image_first=self.image_first,
            max_new_tokens=strategy.max_new_tokens,
            json_schema=report_json_schema() if strategy.output == "json" else None,
            choices=("Yes", "No") if strategy.output == "yes_no" else None,
            alone=request.control == "alone",
        )

    def _notices(self) -> tuple[str, ...]:
        return (
            *((RANDOM_WEIGHTS_NOTICE,) if self.source.random_weights else ()),
            *((PHANTOM_NOTICE,) if self.phantoms else ()),
            RESEARCH_NOTICE,
        )

    def _provenance(self, strategy: str, version: int) -> Provenance:
        return Provenance(
            generator=self.name,
            version=str(version),
            strategy=strategy,
            model=self.source.model,
            revision=self.source.revision,
            precision=self.precision,
            language_model=True,
            random_weights=self.source.random_weights,
            dataset=self.dataset,
            classifier_sha256=self.classifier_sha256,
            phantoms=self.phantoms,
        )


def _written(completion: "Completion") -> Written:
    usage: dict[str, Any] = {name: getattr(completion, name) for name in Usage.model_fields}
    return Written(row_id=completion.key, text=completion.text, score=completion.probability, usage=Usage(**usage))
