"""The forms: every parameter of every flow, with its default, bounds and description.

The Prefect UI shows these models as forms and the shell makes its options from them. This is the only place with
defaults. Defaults are the `standard` preset; the other presets are the few fields that differ from it.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Preset = Literal["quickstart", "standard", "debug"]


class Parameters(BaseModel):
    """Base of all forms: frozen, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _number(value: object) -> object:
    """Read a number that the command line gives as text, which a `Literal` would not take for its number."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class DatasetParameters(Parameters):
    """Which images to use."""

    name: Literal["pneumoniamnist"] = Field("pneumoniamnist", title="Dataset", description="MedMNIST dataset.")
    size: Annotated[Literal[28, 64, 128, 224], BeforeValidator(_number)] = Field(
        28, title="Image size", description="Side of an image in pixels."
    )
    path: str | None = Field(
        None,
        title="Own file",
        description="An npz file in MedMNIST's layout, used instead of the official one; its digest is recorded.",
    )
    limit: int | None = Field(
        None,
        ge=32,
        title="Limit",
        description="Use only the first images of each split, for a quick try; each class keeps its share.",
    )
    phantoms: bool = Field(
        False,
        title="Phantoms if missing",
        description="Where no dataset can be found or fetched, use drawn phantoms, with a watermark everywhere.",
    )


class TrainingParameters(Parameters):
    """How to train the classifier."""

    architecture: Literal["resnet18_gray"] = Field(
        "resnet18_gray", title="Architecture", description="ResNet-18 with a one-channel stem and one logit."
    )
    epochs: int = Field(30, ge=1, le=500, title="Epochs", description="Passes over the training split.")
    batch_size: int = Field(128, ge=8, le=4096, title="Batch size", description="Images a step.")
    learning_rate: float = Field(
        2e-3, gt=0, le=1, title="Learning rate", description="Peak of the one-cycle schedule (AdamW)."
    )
    weight_decay: float = Field(0.01, ge=0, le=1, title="Weight decay", description="Decoupled weight decay of AdamW.")
    loss: Literal["balanced_bce", "bce", "focal"] = Field(
        "balanced_bce",
        title="Loss",
        description="Binary cross-entropy with equal weight for both classes, plain, or focal (γ 2, α balanced too).",
    )
    label_smoothing: float = Field(
        0.05,
        ge=0,
        lt=0.5,
        title="Label smoothing",
        description="Share of each target that moves to one half; the focal loss takes none.",
    )
    ema_decay: float = Field(
        0.995, ge=0, lt=1, title="EMA decay", description="Decay a step of the averaged weights, which are evaluated."
    )
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="Seed of weights, order and augmentation.")


class EvaluationParameters(Parameters):
    """How to set the operating point and score the test split."""

    threshold_rule: Literal["balanced_likelihood", "balanced_accuracy", "fixed"] = Field(
        "balanced_likelihood",
        title="Operating point",
        description="Chosen on validation, where a class-balanced recalibration crosses one half or where balanced "
        "accuracy is best, or fixed beforehand at .5 (right for a class-balanced loss). Never chosen on test.",
    )
    bootstrap_samples: int = Field(
        1000, ge=50, le=100_000, title="Bootstrap samples", description="Resamples behind each 95 % interval."
    )
    failures: int = Field(
        24, ge=1, le=100, title="Failures shown", description="Most confident errors in the figure of failure cases."
    )


class RetrievalParameters(Parameters):
    """How to search for similar cases and judge the search."""

    k_values: list[Annotated[int, Field(ge=1, le=200)]] = Field(
        [1, 5, 10], min_length=1, max_length=10, title="k", description="Cut-offs of precision@k and Hit@k."
    )
    bootstrap_samples: int = Field(
        1000, ge=50, le=100_000, title="Bootstrap samples", description="Resamples behind each 95 % interval."
    )
    galleries: int = Field(
        8, ge=1, le=40, title="Gallery rows", description="Queries shown with their neighbours, and as many failures."
    )
    neighbours: int = Field(5, ge=1, le=20, title="Gallery columns", description="Neighbours shown a query.")
    projection_seed: int = Field(
        0, ge=0, lt=2**31, title="Projection seed", description="Seed of t-SNE and UMAP, which are for looking only."
    )


ReportStrategy = Literal["concise", "structured", "differential", "zero_shot", "clinical_role", "context_aware"]
ReportControl = Literal[
    "blank",
    "noise",
    "same_label",
    "other_label",
    "no_image",
    "flipped",
    "even",
    "no_probability",
    "paraphrase",
    "alone",
]


class ReportParameters(Parameters):
    """Which reports to write."""

    generator: Literal["template", "medgemma"] = Field(
        "template",
        title="Generator",
        description="`template` words the classifier's evidence, with no language model; `medgemma` asks MedGemma, "
        "which needs a GPU and a licence for its weights.",
    )
    cases: int = Field(
        24, ge=1, le=624, title="Cases", description="Test cases: a fixed mix of right, wrong and borderline."
    )
    batch_size: int = Field(8, ge=1, le=256, title="Batch size", description="Cases a task.")
    neighbours: int = Field(5, ge=1, le=20, title="Neighbours", description="Labelled train cases given as evidence.")
    controls: list[ReportControl] = Field(
        list(get_args(ReportControl)),
        title="Controls",
        description="Ask again with another image, probability or wording, to see what the reports depend on.",
    )
    controlled_cases: int = Field(
        24, ge=0, le=624, title="Cases with controls", description="How many of the cases are asked for again."
    )
    strategies: list[ReportStrategy] = Field(
        list(get_args(ReportStrategy)),
        min_length=1,
        title="Prompting strategies",
        description="MedGemma only: one report a case in each.",
    )
    model: str = Field(
        "google/medgemma-4b-it",
        min_length=1,
        title="Model",
        description="MedGemma only: hub id (`google/medgemma-4b-it`, `google/medgemma-1.5-4b-it`) or a folder.",
    )
    revision: str | None = Field(
        None,
        title="Revision",
        description="MedGemma only: commit, tag or branch on the hub, looked up and recorded as its commit; none takes "
        "the newest.",
    )
    precision: Literal["auto", "nf4", "bf16", "fp32"] = Field(
        "auto",
        title="Precision",
        description="MedGemma only: number format of the weights; `auto` is 4-bit NF4 on a GPU and fp32 on a CPU.",
    )
    device: Literal["cuda", "cpu"] = Field(
        "cuda", title="Device", description="MedGemma only: a CPU is for small checkpoints."
    )
    image_first: bool = Field(
        True, title="Image first", description="MedGemma only: whether the image stands before the prompt's text."
    )
    at_once: int | None = Field(
        None,
        ge=1,
        le=512,
        title="Reports at once",
        description="MedGemma only: reports a batch on the GPU; none finds how many fit.",
    )
    token_block: str = Field(
        "huggingface-token",
        pattern="^[a-z0-9-]+$",
        title="Token block",
        description="MedGemma only: Prefect Secret block with the hub's token; without one, HF_TOKEN is taken.",
    )


PRESETS: dict[Preset, dict[str, dict[str, Any]]] = {
    "standard": {},
    "quickstart": {
        "dataset": {"phantoms": True},
        "training": {"epochs": 12},
    },
    "debug": {
        "dataset": {"limit": 160},
        "training": {"epochs": 1, "batch_size": 64},
        "evaluation": {"bootstrap_samples": 100, "failures": 8},
        "retrieval": {"bootstrap_samples": 100, "galleries": 3},
        "reports": {"cases": 6, "batch_size": 4, "controlled_cases": 3},
    },
}
"""Fields that differ from the defaults, by preset and form."""


def form(preset: Preset, name: str, parameters: type[Parameters]) -> Parameters:
    """Fill in a form with a preset.

    Args:
        preset: name of the preset.
        name: name of the form, `training` for instance.
        parameters: its model.

    Returns:
        The model with the preset's values.
    """
    return parameters(**PRESETS[preset].get(name, {}))
