"""What to look for."""

from typing import Literal

from pydantic import Field

from models.choices import EncoderName, Split
from tasks.parameters.base import Parameters


class SearchParameters(Parameters):
    """What to look for: exactly one of an image of the dataset, an image file and a text."""

    index: int | None = Field(
        None,
        ge=0,
        lt=1_000_000,
        title="Image of the dataset",
        description="Position in the split named below; the image itself is not among the results.",
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
    among_splits: list[Split] = Field(
        ["train", "val", "test"], min_length=1, title="Among splits", description="Splits to search."
    )
    among_class: Literal["normal", "pneumonia"] | None = Field(
        None, title="Among class", description="Class to search; none searches both."
    )
