"""Which of one's own pictures to look at, and how."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from models.choices import EncoderName
from tasks.parameters.archive import ArchiveParameters
from tasks.parameters.base import Parameters
from tasks.parameters.evaluation import of_both_classes


class PicturesParameters(Parameters):
    """Which files to look at."""

    images: list[str] = Field(
        [],
        max_length=1_000,
        title="Pictures",
        description="Files, folders, patterns such as `scans/*.dcm`, or addresses such as `s3://bucket/scans`, where "
        "the run looks: PNG, JPEG, TIFF, WebP, BMP, GIF, JPEG 2000 or DICOM.",
    )


class CasesParameters(ArchiveParameters, PicturesParameters):
    """Which of one's own pictures to look at, in files or in an archive, and how."""

    classifier: str = Field(
        "champion",
        min_length=1,
        max_length=64,
        title="Classifier",
        description="`champion`, or the id of the MLflow run that registered another.",
    )
    encoders: list[EncoderName] = Field(
        ["classifier"],
        title="Encoders",
        description="What similar cases are searched with: encoders whose index a retrieval run has published.",
    )
    neighbours: int = Field(5, ge=1, le=20, title="Similar cases", description="Labelled cases shown per encoder.")
    corrupted_images: Annotated[int, AfterValidator(of_both_classes)] = Field(
        262,
        ge=0,
        le=100_000,
        title="Corrupted images",
        description="Validation images of which 65 corrupted copies each (MedMNIST-C) calibrate the conformal sets, as "
        "many of either class, since one's own pictures come from elsewhere; 0 takes validation as it is, as do other "
        "datasets and probes without a GPU.",
    )
    pages: int = Field(
        100,
        ge=0,
        le=10_000,
        title="Pages",
        description="Cases that get a page, heat maps and reports, the most urgent first; the table holds all.",
    )
    batch_size: int = Field(256, ge=1, le=4096, title="Batch size", description="Pictures per task.")
    dicom: Literal["none", "dicom_only", "all"] = Field(
        "dicom_only",
        title="DICOM results",
        description="Structured report and capture with the heat map: `dicom_only` of pictures that are DICOM "
        "themselves, `all` also of others as new studies, `none` of none.",
    )
