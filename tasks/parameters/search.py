"""What to look for."""

from typing import Annotated, Self, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema

from models.choices import EncoderName, Split
from models.medmnist_sets import published_sets
from tasks.parameters.base import Parameters
from tasks.parameters.dataset import SetName


def _both(value: object) -> object:
    """Take none for both classes, as a run's parameters may say it."""
    return "both" if value is None else value


def _classes() -> list[str]:
    """Name the classes of all sets that are searched, those of the default first, each once."""
    names = dict.fromkeys(("both", "normal", "pneumonia"))
    for name in get_args(get_args(SetName)[0]):
        published = published_sets()[name]
        if not published["task"].startswith("multi-label"):
            names |= dict.fromkeys(published["label"].values())
    return list(names)


class SearchParameters(Parameters):
    """What to look for: one of an image of the dataset, an image file and a text; without any, the first image."""

    index: int | None = Field(
        None,
        ge=0,
        le=999_999,
        title="Image of the dataset",
        description="Position in the split named below; the image itself is not among the results. Image 0 is the "
        "example that is taken where neither an image nor a text is named.",
    )
    split: Split = Field("test", title="Split", description="Split of the image of the dataset.")
    image: str | None = Field(
        None,
        min_length=1,
        title="Image file",
        description="Path of a DICOM (also compressed), PNG, JPEG, TIFF, BMP, GIF, WebP or JPEG 2000 file where the "
        "search runs; up to 64 million pixels.",
    )
    text: str | None = Field(None, title="Text", description="Query in English, for encoders that read text.")
    encoder: EncoderName = Field(
        "classifier",
        title="Encoder",
        description="Encoder whose index is searched: the one that a retrieval run published last.",
    )
    k: int = Field(10, ge=1, le=100, title="k", description="Number of nearest images to return.")
    diversity: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Diversity",
        description="How much to prefer cases that are unlike those found before them (maximal marginal relevance): 0 "
        "goes by nearness alone, 0.3 leaves out near-duplicates, 1 goes by difference alone.",
    )
    among_splits: list[Split] = Field(
        ["train", "val", "test"], min_length=1, title="Among splits", description="Splits to search."
    )
    among_added: bool = Field(
        True,
        title="Among added pictures",
        description="Search the pictures too that were added to the index, which are of no split.",
    )
    among_class: Annotated[
        str,
        BeforeValidator(_both),
        WithJsonSchema({"type": "string", "enum": _classes()}),  # what the UI lets one choose
    ] = Field(
        "both",
        title="Among class",
        description="Class of the dataset to search; `both` is all of them.",
    )
    dataset: SetName = Field("pneumoniamnist", title="Dataset", description="MedMNIST dataset whose index is searched.")

    def with_query(self) -> Self:
        """Return the form with an example to search for where it names nothing, as a *Quick run* does."""
        if self.index is None and self.image is None and self.text is None:
            return self.model_copy(update={"index": 0})
        return self
