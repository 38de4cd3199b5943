"""Reports by MedGemma: prompting strategies put to a language model that sees the image."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.choices import Release
from models.report_generation.conventions import CONVENTIONS
from models.report_generation.generator import NOTHING_DONE, Row, Written
from models.report_generation.medgemma.source import Source
from models.report_generation.parsing import report_json_schema
from models.report_generation.prompted import PromptedGenerator
from models.report_generation.prompting import load_strategy
from models.report_generation.schema import Usage

if TYPE_CHECKING:  # PyTorch and transformers take seconds to import, and only writing needs them
    from models.report_generation.medgemma.checkpoint import Precision
    from models.report_generation.medgemma.engine import Completion, Prompt


@dataclass(frozen=True)
class MedGemmaGenerator(PromptedGenerator):
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
        conventions: release whose published system message goes with a strategy that has none of its own.
        thinking_tokens: budget of a block of thought before a report; 0 bars it. The yes-or-no question, whose answer
            is the first token, is asked without.
        token: access token of the hub, or None.
        compiled: whether decoding is compiled, with a static cache.
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
    conventions: Release = "1"
    thinking_tokens: int = 0
    token: str | None = field(default=None, repr=False, compare=False)
    compiled: bool = False

    @property
    def name(self) -> str:
        """Short name of the generator."""
        return "medgemma"

    @property
    def identity(self) -> Mapping[str, object]:
        """The checkpoint and how it is run.

        The batch size is left out: in fp32 it does not matter, and how much it does in other formats is measured under
        the control `companions`.
        """
        return {
            "model": self.source.model,
            "revision": self.source.revision,
            "precision": self.precision,
            "conventions": self.conventions,
            "image_first": self.image_first,
            "thinking_tokens": self.thinking_tokens,
            "decoding": "greedy",
            "compiled": self.compiled,
        }

    @property
    def code(self) -> Callable[..., object]:
        """The engine makes the texts; reading them is no part of it."""
        from models.report_generation.medgemma.engine import Engine

        return Engine

    def prepare(self) -> None:
        """Fetch the checkpoint and compile the schemas of its answers, which takes no GPU, but seconds.

        Raises:
            InputError: the files cannot be had or are damaged.
        """
        schemas = {self.settings(strategy)["json_schema"] for strategy in self.strategies} - {None}
        if schemas:
            from models.report_generation.medgemma.checkpoint import load_vocabulary
            from models.report_generation.medgemma.constrained import compile_constraint

            vocabulary = load_vocabulary(self.source, self.token)
            for schema in schemas:
                compile_constraint(vocabulary, str(schema))

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

        loaded = loaded_model(self.source, self.precision, self.device, self.token)
        engine = Engine(loaded, self.batch_size, compiled=self.compiled)
        for batch in engine.run([self._asked(row) for row in rows], images, done):
            limit = batch.batch_limit or None
            yield [
                *(_written(completion, loaded.attention, limit) for completion in batch.completions),
                *(Written(row_id=each.key, error=each.error, batch_limit=limit) for each in batch.failures),
            ]

    @property
    def system(self) -> str | None:
        """System message that the release is published with, or None."""
        return CONVENTIONS[self.conventions].system

    @property
    def origin(self) -> dict[str, Any]:
        """The checkpoint, its revision and number format."""
        return {
            "generator": self.name,
            "model": self.source.model,
            "revision": self.source.revision,
            "precision": self.precision,
            "random_weights": self.source.random_weights,
        }

    def _asked(self, row: Row) -> "Prompt":
        from models.report_generation.medgemma.engine import Prompt

        request = row.request
        strategy = load_strategy(request.strategy)
        rendered = self.rendered(request)
        return Prompt(
            key=row.id,
            text=rendered.user,
            system=rendered.system,
            image=request.image,
            image_first=self.image_first,
            max_new_tokens=strategy.max_new_tokens,
            thinking_tokens=self.thinking_tokens,
            json_schema=report_json_schema() if strategy.output == "json" else None,
            choices=("Yes", "No") if strategy.output == "yes_no" else None,
            company={"alone": row.id, "companions": "companions"}.get(request.control, ""),
        )


def _written(completion: "Completion", attention: str, limit: int | None) -> Written:
    usage: dict[str, Any] = {name: getattr(completion, name) for name in Usage.model_fields if name != "attention"}
    return Written(
        row_id=completion.key,
        text=completion.text,
        score=completion.probability,
        choice_mass=completion.choice_mass,
        usage=Usage(**usage, attention=attention),
        batch_limit=limit,
    )
