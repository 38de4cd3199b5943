"""What is known of one picture that a person brings: a case. Every product is made of these.

A case is named by the digest of its file, so that the same picture is one case, wherever it lies and whatever it is
called. Of a path only the file's own name is kept, since folders may name a patient or a person.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.choices import EncoderName, Split

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Concern = Literal["unreadable", "foreign", "borderline", "disagreement", "none"]
CONCERNS: dict[Concern, str] = {
    "unreadable": "the file could not be read",
    "foreign": "it does not look like what the classifier was made for",
    "borderline": "the classifier cannot tell: no class, or several, in the set at 90 %",
    "disagreement": "classifier, similar cases and reports do not say the same",
    "none": "nothing to look at first",
}
"""Why a person should look at a case, the most urgent first."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Screening(_Part):
    """Whether a picture looks like what the classifier was made for.

    Attributes:
        foreign: whether it does not; its probability then means nothing and is counted nowhere.
        reasons: why, a sentence each; empty where it does.
        distance: how far it lies from the training images.
        limit: distance from which a picture is foreign: that of the validation images, of which 95 % lie nearer.
        typical: share of the validation images that lie at least as far, the picture counted among them.
    """

    foreign: bool
    reasons: tuple[str, ...]
    distance: float
    limit: float
    typical: Share


class Reliability(_Part):
    """What became of the validation images whose probability is about the same.

    Attributes:
        low: least probability of these images.
        high: highest.
        images: how many they are.
        share: share of them that are of class 1; of more than two classes, of the class that is predicted for each.
        share_low: lower bound of its 95 % interval.
        share_high: upper bound.
    """

    low: Share
    high: Share
    images: int
    share: Share
    share_low: Share
    share_high: Share


class Classification(_Part):
    """What the classifier says of a picture.

    Attributes:
        probability: calibrated, of class 1; of more than two classes, of the class that is predicted.
        threshold: operating point, from which class 1 is predicted; None for more than two classes, of which the
            likeliest is.
        label: the class that is predicted.
        sets: classes of the conformal set by its promised coverage, "0.90" and "0.95".
        reliability: what became of validation images with about this probability.
        runner_up: of more than two classes, the second likeliest, and its probability; else None.
    """

    probability: Share
    threshold: Share | None
    label: str
    sets: dict[str, tuple[str, ...]]
    reliability: Reliability
    runner_up: tuple[str, Share] | None = None

    @property
    def margin(self) -> float:
        """How near the decision is: distance of the probability from the threshold, or from the runner-up's."""
        other = self.threshold if self.runner_up is None else self.runner_up[1]
        return abs(self.probability - (other or 0.0))

    def positive(self, class_names: Sequence[str]) -> str:
        """Return the class that the probability is of.

        Args:
            class_names: by label.
        """
        return class_names[1] if len(class_names) == 2 else self.label


class SimilarCase(_Part):
    """A labelled case that looks like the picture.

    Attributes:
        split: the split it lies in.
        index: its place there.
        label: its class.
        similarity: cosine, by which the cases of one encoder are ranked.
    """

    split: Split
    index: int
    label: str
    similarity: float


class SimilarCases(_Part):
    """The labelled cases nearest to a picture.

    Attributes:
        encoder: what embedded the picture.
        identity: what exactly that is.
        hits: the cases, most similar first.
    """

    encoder: EncoderName
    identity: str
    hits: tuple[SimilarCase, ...]

    @property
    def majority(self) -> str | None:
        """Class of most of them; None on a tie."""
        labels = [hit.label for hit in self.hits]
        most = max(map(labels.count, labels), default=0)
        common = {label for label in labels if labels.count(label) == most}
        return common.pop() if len(common) == 1 else None


class Case(_Part):
    """All that was computed of one file, in a table's row.

    Attributes:
        digest: SHA-256 of the file.
        name: of the file, without its folders.
        pixels: SHA-256 of what the networks saw; empty where the file cannot be read.
        height: of the picture in pixels.
        width: likewise.
        problem: why it cannot be read, in one sentence; None where it can.
        screening: whether it is foreign.
        classification: what the classifier says; also of a foreign picture, where it is shown with the reasons.
        similar: nearest labelled cases, by encoder.
        reports: class that each report comes to by its strategy, None where it comes to none; empty without reports.
    """

    digest: str
    name: str
    pixels: str = ""
    height: int = 0
    width: int = 0
    problem: str | None = None
    screening: Screening | None = None
    classification: Classification | None = None
    similar: tuple[SimilarCases, ...] = ()
    reports: dict[str, str | None] = {}

    @property
    def foreign(self) -> bool:
        """Whether it must not be counted."""
        return self.screening is not None and self.screening.foreign

    @property
    def counts(self) -> bool:
        """Whether what the classifier says of it may be counted."""
        return self.classification is not None and not self.foreign

    @property
    def why_not_counted(self) -> str:
        """Why what the classifier says of it is not counted; empty where it is."""
        if self.screening is None or self.classification is None:
            return self.problem or ""
        return " ".join(self.screening.reasons) if self.foreign else ""

    @property
    def concern(self) -> Concern:
        """Why a person should look at it, the most urgent reason."""
        if self.classification is None:
            return "unreadable"
        if self.foreign:
            return "foreign"
        if len(self.classification.sets["0.90"]) != 1:
            return "borderline"
        voices = {self.classification.label, *(each.majority for each in self.similar), *self.reports.values()}
        return "disagreement" if len(voices - {None}) > 1 else "none"

    @property
    def short_name(self) -> str:
        """First digits of the digest, which name its page and its files."""
        return self.digest[:12]


def most_urgent_first(cases: list[Case]) -> list[Case]:
    """Put cases in the order in which a person should look at them.

    Args:
        cases: in any order.

    Returns:
        By concern, then by how near the decision is, then by name and digest.
    """
    order = list(CONCERNS)

    def urgency(case: Case) -> tuple[int, float, str, str]:
        found = case.classification
        distance = found.margin if found else 0.0
        return order.index(case.concern), distance, case.name, case.digest

    return sorted(cases, key=urgency)
