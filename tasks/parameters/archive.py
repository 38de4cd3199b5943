"""Which X-rays to fetch from a DICOM archive, and whether results go back to it."""

from datetime import date
from typing import Literal

from pydantic import Field

from tasks.parameters.base import Parameters

Modality = Literal["CR", "DX"]


class ArchiveParameters(Parameters):
    """Which X-rays to fetch from a DICOM archive, and whether results go back to it."""

    dicomweb: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        title="Archive",
        description="Address of its DICOMweb service, such as `https://pacs.example.org/dicom-web`; without one, no "
        "archive is asked. It holds no login.",
    )
    study: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        pattern=r"^[0-9]+(\.[0-9]+)+$",
        title="Study",
        description="Study Instance UID, such as `1.2.840.113619.2.5`; without one, all studies are searched.",
    )
    modality: list[Modality] = Field(
        ["CR", "DX"],
        min_length=1,
        max_length=2,
        title="Modality",
        description="What made the X-rays: computed (CR) or digital radiography (DX).",
    )
    body_part: str | None = Field(
        None,
        min_length=1,
        max_length=16,
        pattern=r"^[A-Za-z0-9_ ]+$",
        title="Body part",
        description="DICOM's term for what is shown, such as `CHEST`; without one, X-rays of any.",
    )
    since: date | None = Field(
        None, title="Since", description="Studies of this day or later, such as `2026-11-01`; without one, of any day."
    )
    store_back: bool = Field(
        False,
        title="Store results in the archive",
        description="Sends the structured report and the capture with the heat map of each X-ray that came from the "
        "archive back to it, marked as research use.",
    )
    login_block: str = Field(
        "dicomweb-login",
        pattern="^[a-z0-9-]+$",
        title="Login",
        description="Prefect Secret block with `name:password` or a token for the archive; without one, DICOMWEB_LOGIN "
        "is used.",
    )
