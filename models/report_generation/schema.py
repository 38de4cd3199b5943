"""What a report is made from, and what it is."""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Presence = Literal["present", "absent", "uncertain", "not assessable"]
Label = Literal["normal", "pneumonia"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NeighbourEvidence(_Frozen):
    """A labelled case that looks like the one reported on.

    Attributes:
        index: its position in its split.
        label: its true class.
        similarity: cosine similarity of the embeddings, in [-1, 1].
        split: "train", "val" or "test".
    """

    index: int
    label: Label
    similarity: float
    split: str


class Case(_Frozen):
    """What a generator is told about an image, beside the image itself; never its true class.

    Attributes:
        index: position of the image in the test split.
        image_sha256: digest of its pixels.
        probability: calibrated probability of pneumonia.
        threshold: probability from which the classifier labels pneumonia.
        heat_region: where on the picture, not in the patient, the Grad-CAM map is strongest, or "no focus".
        heat_share: share of the map's heat in that region; 0 without a focus.
        neighbours: the most similar labelled cases, nearest first.
    """

    index: int
    image_sha256: str
    probability: Share
    threshold: Share
    heat_region: str
    heat_share: Share
    neighbours: tuple[NeighbourEvidence, ...] = ()

    @property
    def label(self) -> Label:
        """The classifier's label."""
        return "pneumonia" if self.probability >= self.threshold else "normal"


class Finding(_Frozen):
    """One thing that a report speaks about.

    Attributes:
        name: what it is.
        presence: whether it is there.
        detail: one or two sentences.
    """

    name: str
    presence: Presence
    detail: str


class Provenance(_Frozen):
    """Where a report comes from.

    Attributes:
        generator: name of what wrote it.
        version: version of that.
        model: identifier of the language model, or None.
        language_model: whether one was involved.
        dataset: name of the dataset.
        classifier_sha256: digest of the classifier's weights.
        phantoms: whether the image is a drawn phantom.
    """

    generator: str
    version: str
    model: str | None
    language_model: bool
    dataset: str
    classifier_sha256: str
    phantoms: bool


class Report(_Frozen):
    """A report on one image.

    Attributes:
        case_index: position of the image in the test split.
        findings: what was looked for.
        impression: the conclusion in a few sentences.
        label: the class that the report concludes on.
        confidence: probability of that class according to the report's author, in [0, 1].
        certainty: the same in words.
        limitations: what the reader must know before relying on it; never empty.
        provenance: who wrote it, from what.
    """

    case_index: int
    findings: tuple[Finding, ...]
    impression: str
    label: Label
    confidence: Share
    certainty: str
    limitations: Annotated[tuple[str, ...], Field(min_length=1)]
    provenance: Provenance

    def as_markdown(self) -> str:
        """Write the report under a third-level heading."""
        source = self.provenance
        author = f"language model {source.model}" if source.language_model else "no language model"
        findings = "".join(f"- {finding.name}: **{finding.presence}**. {finding.detail}\n" for finding in self.findings)
        limitations = "".join(f"- {sentence}\n" for sentence in self.limitations)
        return (
            f"### Case {self.case_index}\n\n"
            f"**Impression.** {self.impression}\n\n"
            f"**Label.** {self.label} (confidence {self.confidence:.2f}, {self.certainty})\n\n"
            f"**Findings**\n\n{findings}\n"
            f"**Limitations**\n\n{limitations}\n"
            f"*Written by {source.generator} {source.version} ({author}) on {source.dataset}, "
            f"classifier {source.classifier_sha256[:12]}.*\n"
        )


class ReportGenerator(Protocol):
    """What writes reports."""

    @property
    def name(self) -> str:
        """Short name, as in `Provenance.generator`."""

    def generate(self, cases: Sequence[Case], images: NDArray[np.uint8]) -> list[Report]:
        """Write one report a case, in the order of the cases.

        Args:
            cases: the evidence.
            images: the same cases' images, shape (cases, height, width), 0–255.

        Returns:
            The reports.
        """
