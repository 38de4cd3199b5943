"""What every generator that puts the prompting strategies to a language model has in common, wherever that runs."""

from typing import Any

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.report_generation.parsing import read_report, report_json_schema
from models.report_generation.prompting import YES_NO, Rendered, Strategy, load_strategy, render
from models.report_generation.schema import Provenance, Report, Request

AUTHORSHIP = "A language model wrote this text. No radiologist has seen it."


class PromptedGenerator:
    """Words the requests and reads the reports; a subclass has the answers written.

    Attributes:
        report_strategies: prompting strategies, one report each.
        dataset: name of the dataset.
        classifier_sha256: digest of the classifier's weights.
        phantoms: whether the images are drawn phantoms.
    """

    report_strategies: tuple[str, ...]
    dataset: str
    classifier_sha256: str
    phantoms: bool

    @property
    def system(self) -> str | None:
        """System message for a strategy that has none of its own, or None."""
        return None

    @property
    def origin(self) -> dict[str, Any]:
        """What `Provenance` says of generator and model."""
        raise NotImplementedError

    @property
    def strategies(self) -> tuple[str, ...]:
        """The report strategies and the yes-or-no question."""
        return (*self.report_strategies, YES_NO)

    @property
    def prompts(self) -> tuple[Strategy, ...]:
        """The strategies' files."""
        return tuple(load_strategy(name) for name in self.strategies)

    def settings(self, strategy: str) -> dict[str, object]:
        """Version of the prompt file, length limit and schema of the answer."""
        chosen = load_strategy(strategy)
        schema = report_json_schema() if chosen.output == "json" else None
        return {"version": chosen.version, "max_new_tokens": chosen.max_new_tokens, "json_schema": schema}

    def rendered(self, request: Request) -> Rendered:
        """Return the system and the user message."""
        return render(load_strategy(request.strategy), request, self.system)

    def prompt(self, request: Request) -> str:
        """Return the system and the user message as one text."""
        rendered = self.rendered(request)
        return "\n\n".join(part for part in (rendered.system, rendered.user) if part)

    def read(self, request: Request, text: str) -> Report:
        """Read the report out of what was written.

        Raises:
            UnreadableReport: there is none in it.
        """
        strategy = load_strategy(request.strategy)
        if strategy.output == "yes_no":
            raise ValueError(f"{request.strategy} asks for no report")
        content = read_report(text, strategy.output)
        provenance = Provenance(
            version=str(strategy.version),
            strategy=request.strategy,
            language_model=True,
            dataset=self.dataset,
            classifier_sha256=self.classifier_sha256,
            phantoms=self.phantoms,
            **self.origin,
        )
        notices = (
            *((RANDOM_WEIGHTS_NOTICE,) if provenance.random_weights else ()),
            *((PHANTOM_NOTICE,) if self.phantoms else ()),
            RESEARCH_NOTICE,
        )
        return Report(
            **content.model_dump(exclude={"limitations"}),
            case_index=request.case.index,
            limitations=(*notices, AUTHORSHIP, *content.limitations),
            provenance=provenance,
        )
