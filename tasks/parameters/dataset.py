"""Which images to use."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tasks.parameters.base import Parameters


def _number(value: object) -> object:
    """Read a number that the command line gives as text, which a `Literal` would not take for its number."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _classifiable(value: object) -> object:
    """Say why a MedMNIST set that exists is not among the names, which a `Literal` would not."""
    if isinstance(value, str) and value.endswith("mnist3d"):
        raise PydanticCustomError("volumes", "Its images are volumes: choose a dataset of 2D images")
    return value


SetName = Annotated[
    Literal[
        "pathmnist",
        "chestmnist",
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
]
"""MedMNIST's names of the sets of flat images."""


class DatasetParameters(Parameters):
    """Which images to use."""

    name: SetName = Field("pneumoniamnist", title="Dataset", description="MedMNIST dataset of 2D images.")
    size: Annotated[Literal[28, 64, 128, 224], BeforeValidator(_number)] = Field(
        28, title="Image size", description="Side length of the images in pixels."
    )
    path: str | None = Field(
        None,
        title="Own data",
        description="An npz file in MedMNIST's layout, or a folder of grey pictures (PNG, JPEG, DICOM …; train, val "
        "and test, each with a folder a class; or these alone, of which splits are made), used instead of the official "
        "file; its digest is recorded.",
    )
    corrections: str | None = Field(
        None,
        title="Corrected labels",
        description="CSV of training labels that a person has corrected: doubtful_labels.csv of a run, with its column "
        "corrected filled in; its digest is part of the dataset's.",
    )
    limit: int | None = Field(
        None,
        ge=32,
        le=1_000_000,
        title="Limit",
        description="Use only the first images of each split, for a quick try; class proportions are kept.",
    )
    phantoms: bool = Field(
        False,
        title="Phantoms if missing",
        description="Use drawn phantoms if PneumoniaMNIST can be neither found nor downloaded; all output says so.",
    )
