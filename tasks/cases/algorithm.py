"""What a result was computed with, as other systems are told it."""

from pydantic import BaseModel, ConfigDict

NAME, VERSION = "pneumonia-workflow", "0.1.0"


class Algorithm(BaseModel):
    """What a result was computed with.

    Attributes:
        version: of the software.
        classifier_sha256: digest of the classifier's weights.
        classes: names of the two classes; the probability is of the second.
        phantoms: whether it was trained on drawn phantoms, so that its figures say nothing about X-rays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    classifier_sha256: str
    classes: tuple[str, str] = ("normal", "pneumonia")
    phantoms: bool = False
