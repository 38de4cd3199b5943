"""Which reports to write."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from models.choices import Release, WeightFormat, described
from models.report_generation.controls import CONTROLS, DEFAULT_CONTROLS
from models.report_generation.openai_server import address
from models.report_generation.prompting import STRATEGIES
from tasks.parameters.base import Parameters

if TYPE_CHECKING:
    ReportStrategy = str
    ReportControl = str
else:  # a type checker cannot read the names from where they stand
    ReportStrategy = Literal[STRATEGIES]
    ReportControl = Literal[tuple(CONTROLS)]


class ReportParameters(Parameters):
    """Which reports to write."""

    generator: Literal["template", "medgemma", "openai"] = Field(
        "template",
        title="Generator",
        description="`template` words the classifier's evidence, with no language model; `medgemma` prompts MedGemma, "
        "which needs a GPU and a licence for its weights; `openai` prompts a model on a server, which "
        "is sent the images.",
    )
    cases: int = Field(
        24, ge=1, le=624, title="Cases", description="Test cases: a fixed mix of correct, wrong and borderline."
    )
    batch_size: int = Field(
        1536,
        ge=1,
        le=65536,
        title="Batch size",
        description="Reports per task; a case's stay together. Those of a task share batches on the GPU.",
    )
    neighbours: int = Field(5, ge=1, le=20, title="Neighbours", description="Labelled train cases given as evidence.")
    controls: list[ReportControl] = Field(
        list(DEFAULT_CONTROLS),
        title="Controls",
        description=described(
            "Requests that show what the reports depend on", {name: each.title for name, each in CONTROLS.items()}
        ),
    )
    controlled_cases: int = Field(
        24, ge=0, le=624, title="Cases with controls", description="Number of cases with control requests."
    )
    strategies: list[ReportStrategy] = Field(
        list(STRATEGIES),
        min_length=1,
        title="Prompting strategies",
        description="Language models only: prompts; each case gets one report per strategy.",
    )
    model: str = Field(
        "google/medgemma-4b-it",
        min_length=1,
        title="Model",
        description="MedGemma: hub id (`google/medgemma-4b-it`, `google/medgemma-1.5-4b-it`) or a folder; openai: the "
        "server's name for the model.",
    )
    revision: str | None = Field(
        None,
        title="Revision",
        description="MedGemma only: commit, tag or branch on the hub; its commit is recorded; none takes the newest.",
    )
    precision: Literal["auto", WeightFormat] = Field(
        "auto",
        title="Precision",
        description="MedGemma only: number format of the weights; `auto` is 4-bit NF4 on a GPU and fp32 on a CPU.",
    )
    device: Literal["cuda", "cpu"] = Field(
        "cuda", title="Device", description="MedGemma only: a CPU suits small checkpoints only."
    )
    image_first: bool | None = Field(
        None,
        title="Image first",
        description="Language models only: put the image before the text of the prompt; none does as published.",
    )
    at_once: int | None = Field(
        None,
        ge=1,
        le=512,
        title="Reports at once",
        description="MedGemma: reports per batch on the GPU; none finds how many fit. openai: requests in flight per "
        "task; none is 8.",
    )
    token_block: str = Field(
        "huggingface-token",
        pattern="^[a-z0-9-]+$",
        title="Token block",
        description="MedGemma only: Prefect Secret block with the hub's token; without one, HF_TOKEN is used.",
    )
    conventions: Literal["auto", Release] = Field(
        "auto",
        title="Conventions",
        description="Language models only: release of MedGemma whose published system message and order of image and "
        "text are followed; `auto` reads it from the model's name.",
    )
    thinking_tokens: int = Field(
        0,
        ge=0,
        le=8192,
        title="Thinking tokens",
        description="MedGemma only: tokens that a thought before a report may take; 0 bars it.",
    )
    compiled: bool = Field(
        False,
        title="Compiled decoding",
        description="MedGemma only: static cache and compiled decoding, not in nf4; meant for a large GPU, on which it "
        "has not been measured.",
    )
    references: str | None = Field(
        None,
        min_length=1,
        title="Reference reports",
        description="CSV, JSON or JSON Lines with reports that someone else wrote on test images (`case` or "
        "`image_sha256`, and `reference`), which the written ones are compared with.",
    )
    server: str | None = Field(
        None,
        pattern=address.PATTERN,
        title="Server",
        description="openai only: address of an OpenAI-compatible server, `http://127.0.0.1:8000/v1` for instance.",
    )
    key_block: str = Field(
        "openai-api-key",
        pattern="^[a-z0-9-]+$",
        title="Key block",
        description="openai only: Prefect Secret block with the server's key; without one, OPENAI_API_KEY is used.",
    )

    @field_validator("server", mode="before")
    @classmethod
    def _one_spelling(cls, server: object) -> object:
        return address.normalised(server) if isinstance(server, str) else server
