"""What to add to the index that searches take."""

from typing import Literal

from pydantic import Field

from tasks.parameters.base import Parameters


class AddParameters(Parameters):
    """What to add to the index that searches take, or to take out of it; without either, what was added is listed."""

    images: list[str] = Field(
        [],
        title="Image files",
        description="Paths of DICOM, PNG, JPEG, TIFF, BMP, GIF, WebP or JPEG 2000 files where the run takes place. "
        "Searches show the names of the files, without their folders.",
    )
    label: Literal["normal", "pneumonia"] | None = Field(
        None,
        title="Class",
        description="Class of all of them; without one, they are found but not counted among the classes.",
    )
    remove: list[str] = Field(
        [],
        title="Take out",
        description="Pictures to take out, each by the SHA-256 of its pixels or its first eight digits or more.",
    )
