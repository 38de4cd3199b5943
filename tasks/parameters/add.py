"""What to add to the index that searches take."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tasks.parameters.base import Parameters

UNKNOWN = "unknown"


def _unknown(value: object) -> object:
    """Take none for a class that is not known, as a run's parameters may say it."""
    return UNKNOWN if value is None else value


class AddParameters(Parameters):
    """What to add to the index that searches take, or to take out of it; without either, what was added is listed."""

    images: list[str] = Field(
        [],
        title="Image files",
        description="Paths of DICOM, PNG, JPEG, TIFF, BMP, GIF, WebP or JPEG 2000 files where the run takes place. "
        "Searches show the names of the files, without their folders.",
    )
    label: Annotated[Literal["unknown", "normal", "pneumonia"], BeforeValidator(_unknown)] = Field(
        "unknown",
        title="Class",
        description="Class of all of them; where it is unknown, they are found but not counted among the classes.",
    )
    remove: list[str] = Field(
        [],
        title="Take out",
        description="Pictures to take out, each by the SHA-256 of its pixels or its first eight digits or more.",
    )
