"""The forms: every parameter of every flow, with its default, bounds and description.

The Prefect UI shows these models as forms and the shell makes its options from them. This is the only place with
defaults. Defaults are the `standard` preset; the other presets are the few fields that differ from it.
"""

from typing import Annotated, Any, Literal, get_args

from annotated_types import MinLen
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from models.encoders.catalogue import EncoderName

Preset = Literal["quickstart", "standard", "debug"]


def _number_fields(schema: dict[str, Any]) -> None:
    """Number the fields: the Prefect UI goes by these numbers, and PostgreSQL keeps no order of the fields."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position


class Parameters(BaseModel):
    """Base of all forms: frozen, in the order of the class, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_number_fields)


def _number(value: object) -> object:
    """Read a number that the command line gives as text, which a `Literal` would not take for its number."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _classifiable(value: object) -> object:
    """Say why a MedMNIST set that exists is not among the names, which a `Literal` would not."""
    if value == "chestmnist":
        raise PydanticCustomError("multi_label", "Its images have several labels each: choose a set with one")
    if isinstance(value, str) and value.endswith("mnist3d"):
        raise PydanticCustomError("volumes", "Its images are volumes: choose a set of flat images")
    return value


def _several(folds: int) -> int:
    """Refuse a single fold, which would leave nothing to train on."""
    if folds == 1:
        raise PydanticCustomError(
            "one_fold", "One fold leaves nothing to train on: choose 2 or more, or 0 for no audit"
        )
    return folds


class DatasetParameters(Parameters):
    """Which images to use."""

    name: Annotated[
        Literal[
            "pathmnist",
            "dermamnist",
            "octmnist",
            "pneumoniamnist",
            "retinamnist",
            "breastmnist",
            "bloodmnist",
            "tissuemnist",
            "organamnist",
            "organcmnist",
            "organsmnist",
        ],
        BeforeValidator(_classifiable),
    ] = Field("pneumoniamnist", title="Dataset", description="MedMNIST set of flat images with one label each.")
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
        le=1_000_000,
        title="Limit",
        description="Use only the first images of each split, for a quick try; each class keeps its share.",
    )
    phantoms: bool = Field(
        False,
        title="Phantoms if missing",
        description="Where PneumoniaMNIST can be neither found nor fetched, use drawn phantoms, with a watermark "
        "everywhere.",
    )


class TrainingParameters(Parameters):
    """How to train the classifier."""

    architecture: Literal["ensemble28", "resnet18_gray", "efficientnet_b0", "efficientnet_lite0", "compact28"] = Field(
        "ensemble28",
        title="Architecture",
        description="Four small residual networks at full resolution in one, ResNet-18 with a 3×3 stem, "
        "EfficientNet-B0 with strides for small images, EfficientNet-Lite0 on enlarged ones, or one small residual "
        "network, which is the fastest.",
    )
    pretrained: str | None = Field(
        None,
        min_length=1,
        title="Pretrained weights",
        description="`imagenet` takes published weights: EfficientNet-Lite0's from its package, torchvision's "
        "from its cache folder or the network; a path takes a .pth or .safetensors file of the same network; none "
        "starts from random weights.",
    )
    epochs: int = Field(30, ge=1, le=500, title="Epochs", description="Passes over the training split.")
    batch_size: int = Field(128, ge=8, le=4096, title="Batch size", description="Images a step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, title="Learning rate", description="Peak of the schedule (AdamW).")
    schedule: Literal["one_cycle", "cosine", "step"] = Field(
        "one_cycle",
        title="Schedule",
        description="One cycle with a rise of 30 %, cosine with a short rise, or a tenth after half and three quarters "
        "of the steps.",
    )
    weight_decay: float = Field(0.01, ge=0, le=1, title="Weight decay", description="Decoupled weight decay of AdamW.")
    loss: Literal["balanced_bce", "bce", "balanced_cross_entropy", "cross_entropy", "focal"] = Field(
        "balanced_bce",
        title="Loss",
        description="For two classes binary cross-entropy, plain or with equal weight for both; for more of them "
        "cross-entropy, plain or balanced; or focal.",
    )
    focal_gamma: float = Field(
        2.0, ge=0, le=10, title="Focal γ", description="Focal loss only: how strongly easy images are played down."
    )
    focal_alpha: float | None = Field(
        None,
        ge=0,
        le=1,
        title="Focal α",
        description="Focal loss of two classes only: weight of the second class; none balances the classes.",
    )
    label_smoothing: float = Field(
        0.05,
        ge=0,
        lt=0.5,
        title="Label smoothing",
        description="Share of each target that is spread over all classes; the focal loss takes none.",
    )
    augmentation: Literal["none", "light", "standard", "strong"] = Field(
        "standard", title="Augmentation", description="How much position, size and exposure of training images vary."
    )
    mixup: float = Field(
        0.0,
        ge=0,
        le=10,
        title="Mixup",
        description="α of the Beta distribution that mixes pairs of images; 0 mixes none.",
    )
    ema_decay: float = Field(
        0.995, ge=0, lt=1, title="EMA decay", description="Decay a step of the averaged weights, which are evaluated."
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=500,
        title="Patience",
        description="End after as many epochs without a lower validation loss; none trains all epochs.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        title="Precision",
        description="Number format of the network's arithmetic; `auto` is bf16 on a GPU that has it, else fp32.",
    )
    compile: bool = Field(
        False, title="Compile", description="torch.compile the network: worth its start on a GPU and long trainings."
    )
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="Seed of weights, order and augmentation.")


class EvaluationParameters(Parameters):
    """How to set the operating point and score the test split."""

    threshold_rule: Literal["balanced_likelihood", "balanced_accuracy", "fixed"] = Field(
        "fixed",
        title="Operating point",
        description="Two classes only: fixed beforehand at .5, which is right for a class-balanced loss, or chosen on "
        "validation, where a class-balanced recalibration crosses one half or where balanced accuracy is best. Never "
        "chosen on test.",
    )
    bootstrap_samples: int = Field(
        1000, ge=50, le=100_000, title="Bootstrap samples", description="Resamples behind each 95 % interval."
    )
    failures: int = Field(
        24, ge=1, le=100, title="Failures shown", description="Most confident errors in the figure of failure cases."
    )
    explained_images: int = Field(
        64,
        ge=4,
        le=1000,
        title="Images in the checks of the maps",
        description="Test images whose heat maps are checked.",
    )
    explanation_draws: int = Field(
        5,
        ge=2,
        le=20,
        title="Untrained networks",
        description="Random networks that the heat maps are compared with: they must not look like theirs.",
    )
    label_folds: Annotated[int, AfterValidator(_several)] = Field(
        5,
        ge=0,
        le=20,
        title="Folds of the label audit",
        description="Small networks trained to look for wrong labels, each on all training images but one fold; 0 "
        "leaves the audit out, as more than 30,000 training images do.",
    )
    promote: bool = Field(
        True,
        title="Register and promote",
        description="Register the classifier, and make it champion if it beats the champion on validation. One of a "
        "trial (a limit, phantoms) is not registered.",
    )


Split = Literal["train", "val", "test"]


class RetrievalParameters(Parameters):
    """How to search for similar cases and judge the search."""

    encoders: list[EncoderName] = Field(
        ["classifier", "metric"],
        min_length=1,
        max_length=5,
        title="Encoders",
        description="What turns images into vectors: the classifier without its head, the same tuned for search, or "
        "published networks that also read texts. Each gets its own MLflow run; the others are compared with the "
        "first, whose neighbours the reports cite.",
    )
    classifier: str = Field(
        "train",
        min_length=1,
        title="Classifier",
        description="`train` takes the one of the forms above, trained if need be; `champion` the registered "
        "champion; the id of an MLflow run the one that it registered.",
    )
    index: Literal["auto", "flat", "hnsw", "ivf"] = Field(
        "auto",
        title="Index",
        description="`flat` compares with every vector; `hnsw` walks a graph and `ivf` looks into a few cells, which "
        "miss some neighbours but take less time; `auto` chooses by size.",
    )
    publish: Literal["if_no_worse", "always", "never"] = Field(
        "if_no_worse",
        title="Publish",
        description="Whether searches take this run's index from now on: if it holds the whole data and finds no worse "
        "than the one in use, leave-one-out on validation; whatever it is; or not.",
    )
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
    clip: str = Field(
        "openai/clip-vit-base-patch32", min_length=1, title="CLIP", description="Hub id of a CLIP model, or its folder."
    )
    pubmedclip: str = Field(
        "flaviagiammarino/pubmed-clip-vit-base-patch32",
        min_length=1,
        title="PubMedCLIP",
        description="Hub id of a CLIP model, or its folder.",
    )
    biomedclip: str = Field(
        "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        min_length=1,
        title="BiomedCLIP",
        description="Hub id of an open_clip model, or its folder.",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", title="Device", description="Where the published networks compute.")


class SearchParameters(Parameters):
    """What to look for: exactly one of an image of the dataset, an image file and a text."""

    index: int | None = Field(
        None,
        ge=0,
        lt=1_000_000,
        title="Image of the dataset",
        description="Position in the split named below; it is not found itself.",
    )
    split: Split = Field("test", title="Its split", description="Where the image of the dataset stands.")
    image: str | None = Field(
        None,
        min_length=1,
        title="Image file",
        description="Path of a DICOM (also compressed), PNG, JPEG, TIFF, BMP, GIF, WebP or JPEG 2000 file where the "
        "search runs; up to 64 million pixels.",
    )
    text: str | None = Field(None, title="Text", description="Words in English; for the encoders that read text.")
    encoder: EncoderName = Field(
        "classifier",
        title="Encoder",
        description="Whose index is searched: the one that a retrieval run published last.",
    )
    k: int = Field(10, ge=1, le=100, title="k", description="Images to find.")
    among_splits: list[Split] = Field(
        ["train", "val", "test"], min_length=1, title="Among splits", description="Splits that are searched."
    )
    among_class: Literal["normal", "pneumonia"] | None = Field(
        None, title="Among class", description="Class that is searched; none searches both."
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
        "training": {"architecture": "compact28", "epochs": 20},
        "evaluation": {"label_folds": 0},
        "retrieval": {"encoders": ["classifier"]},
    },
    "debug": {
        "dataset": {"limit": 160},
        "training": {"architecture": "compact28", "epochs": 1, "batch_size": 16},
        "evaluation": {
            "bootstrap_samples": 100,
            "failures": 8,
            "explained_images": 8,
            "explanation_draws": 2,
            "label_folds": 2,
        },
        "retrieval": {"encoders": ["classifier"], "bootstrap_samples": 100, "galleries": 3},
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


class _ValuesOf:
    """Makes a list take what a field of the training form takes: the same choices, the same bounds.

    Args:
        field: name of that field.
    """

    def __init__(self, field: str) -> None:
        training = TrainingParameters.model_fields[field]
        value: Any = Annotated[(training.annotation, Field(), *training.metadata)]
        self._values = list[value]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self._values)


class SweepParameters(Parameters):
    """Which trainings to compare: every combination of the lists. An empty list takes the training form's own value."""

    architectures: Annotated[list[str], _ValuesOf("architecture")] = Field(
        [], title="Architectures", description="Networks to compare."
    )
    losses: Annotated[list[str], _ValuesOf("loss")] = Field([], title="Losses", description="Losses to compare.")
    schedules: Annotated[list[str], _ValuesOf("schedule")] = Field(
        [], title="Schedules", description="Schedules to compare."
    )
    augmentations: Annotated[list[str], _ValuesOf("augmentation")] = Field(
        [], title="Augmentations", description="Augmentations to compare."
    )
    learning_rates: Annotated[list[float], _ValuesOf("learning_rate")] = Field(
        [], title="Learning rates", description="Peak learning rates to compare."
    )
    weight_decays: Annotated[list[float], _ValuesOf("weight_decay")] = Field(
        [], title="Weight decays", description="Weight decays to compare."
    )
    label_smoothings: Annotated[list[float], _ValuesOf("label_smoothing")] = Field(
        [], title="Label smoothings", description="Label smoothings to compare."
    )
    mixups: Annotated[list[float], _ValuesOf("mixup")] = Field(
        [], title="Mixups", description="Values of mixup's α to compare."
    )
    epochs: Annotated[list[int], _ValuesOf("epochs")] = Field(
        [], title="Epochs", description="Lengths of training to compare."
    )
    batch_sizes: Annotated[list[int], _ValuesOf("batch_size")] = Field(
        [], title="Batch sizes", description="Batch sizes to compare."
    )
    seeds: Annotated[list[int], _ValuesOf("seed"), MinLen(1)] = Field(
        [0, 1, 2], title="Seeds", description="Each combination is trained once with each of these seeds."
    )
    at_once: int = Field(
        2, ge=1, le=64, title="At once", description="Trainings that run at the same time and share the cores."
    )


class ExecutionParameters(Parameters):
    """Where work that is done in parts runs: shards of embeddings, batches of reports, trainings of a sweep."""

    runner: Literal["threads", "dask"] = Field(
        "threads",
        title="Runner",
        description="`threads` of this process, or processes of a Dask cluster, on this machine or on several. The "
        "results are the same.",
    )
    workers: int = Field(
        2,
        ge=1,
        le=64,
        title="Workers",
        description="Parts that run at the same time, but as many trainings of a sweep on threads as its form says; a "
        "Dask scheduler that is named below has workers of its own.",
    )
    scheduler: str | None = Field(
        None,
        pattern=r"^(tcp|tls|ws|wss)://[^/\s]+:[0-9]+$",
        title="Dask scheduler",
        description="Dask only: its address, `tcp://10.0.0.5:8786` for instance; none starts a cluster on this machine "
        "for as long as the work takes.",
    )


class ChampionParameters(Parameters):
    """Which registered classifier is in use."""

    name: str = Field(
        "pneumonia-classifier",
        pattern="^[a-z0-9-]+$",
        title="Classifier",
        description="Registered name: `pneumonia-classifier`, or another dataset's such as `bloodmnist-classifier`.",
    )
    version: str | None = Field(
        None,
        pattern="^([1-9][0-9]*|previous)$",
        title="Version",
        description="Number of the version to make champion, or `previous` for the one before; none only shows them.",
    )
    reason: str = Field(
        "no reason given", min_length=1, title="Reason", description="Why, kept as a tag of both versions."
    )


FORMS: dict[str, type[Parameters]] = {
    "dataset": DatasetParameters,
    "training": TrainingParameters,
    "evaluation": EvaluationParameters,
    "retrieval": RetrievalParameters,
    "reports": ReportParameters,
    "search": SearchParameters,
    "sweep": SweepParameters,
    "execution": ExecutionParameters,
    "champion": ChampionParameters,
}
"""The forms by the name that they have in every flow."""
