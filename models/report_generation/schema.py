"""What a report is made from, and what it is."""

import re
from collections.abc import Collection, Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.markdown import escape
from models.notices import RANDOM_WEIGHTS_NOTICE

_DIGEST = re.compile(r"(sha256:)?[0-9a-f]{20,}")

Presence = Literal["present", "absent", "uncertain", "not assessable"]
Label = str
"""Name of a class of the dataset."""
CHEST_CLASSES: tuple[Label, Label] = ("normal", "pneumonia")
"""The classes of the chest X-rays, which prompts and lexicon are about."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
DecidedBy = Literal["log-probabilities", "structured choice"]
"""How a server was made to answer Yes or No: by the probabilities that it gives, or by having to write one of them."""

LEAST_CHOICE_MASS = 0.5
"""What Yes and No must hold together of the probability of the first token for their comparison to be an answer.

Below one half the model would sooner say something else than answer with one of the two words, and P(Yes) against P(No)
is its preference between two things that it would not say. A model that follows the question gives them nearly all.
"""


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
        probability: calibrated probability of the second label, or None where the generator is not told.
        threshold: probability from which the classifier gives the second label; of more than two classes that of the
            runner-up.
        heat_region: where on the picture, not in the patient, the Grad-CAM map is strongest, or "no focus".
        heat_share: share of the map's heat in that region; 0 without a focus.
        neighbours: the most similar labelled cases, nearest first.
        labels: names of the two classes; of more than two the runner-up and the likeliest.
        two_classes: whether there are no others.
    """

    index: int
    image_sha256: str
    probability: Share | None
    threshold: Share
    heat_region: str
    heat_share: Share
    neighbours: tuple[NeighbourEvidence, ...] = ()
    labels: tuple[Label, Label] = CHEST_CLASSES
    two_classes: bool = True

    @property
    def of_a_chest(self) -> bool:
        """Whether its classes are those of the chest X-rays."""
        return self.labels == CHEST_CLASSES

    @property
    def label(self) -> Label | None:
        """The classifier's label, or None where its probability is not told."""
        return None if self.probability is None else self.label_at(self.probability)

    def label_at(self, probability: float) -> Label:
        """Return the label that goes with a probability."""
        return self.labels[probability >= self.threshold]

    def other(self, label: Label) -> Label:
        """Return the class that a label is not."""
        return self.labels[label == self.labels[0]]


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


class ReportContent(_Frozen):
    """What a report says.

    Attributes:
        findings: what was looked for.
        impression: the conclusion in a few sentences.
        differential: other explanations that the generator considers, likeliest first.
        label: the class that the report concludes on, or None where it does not conclude.
        certainty: how sure the generator is, in words.
        image_quality: what the generator says of the picture.
        limitations: what the reader must know before relying on it.
        asides: what it says beside that: technique, comparison, history, advice.
    """

    findings: tuple[Finding, ...] = ()
    impression: str
    differential: tuple[str, ...] = ()
    label: Label | None
    certainty: str = ""
    image_quality: str = ""
    limitations: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()


class Provenance(_Frozen):
    """Where a report comes from.

    Attributes:
        generator: name of what wrote it.
        version: version of that; of the prompt, for a language model.
        strategy: prompting strategy; the generator's name where there is no prompt.
        model: identifier of the language model, or None.
        revision: commit or digest of its weights, or None.
        precision: number format of its weights, or None.
        server: address and version of the server that the model runs on, or None where it ran here.
        language_model: whether one was involved.
        random_weights: whether that model has random weights, so that its text means nothing.
        dataset: name of the dataset.
        classifier_sha256: digest of the classifier's weights.
        phantoms: whether the image is a drawn phantom.
    """

    generator: str
    version: str
    strategy: str
    model: str | None = None
    revision: str | None = None
    precision: str | None = None
    server: str | None = None
    language_model: bool
    random_weights: bool = False
    dataset: str
    classifier_sha256: str
    phantoms: bool

    @property
    def short_revision(self) -> str | None:
        """The revision, of a commit or digest the beginning only."""
        digest = self.revision is not None and _DIGEST.fullmatch(self.revision)
        return self.revision[:12] if self.revision and digest else self.revision

    @property
    def weights(self) -> str:
        """What wrote it, for people: model, revision, precision and server, as far as they are known."""
        revision = self.revision and f"revision {self.revision}"
        return ", ".join(part for part in (self.model, revision, self.precision, self.server) if part)


class Report(ReportContent):
    """A report on one image.

    Attributes:
        case_index: position of the image in the test split.
        confidence: probability of the label according to its generator, or None where it gives none.
        limitations: as above, and never empty.
        provenance: who wrote it, from what.
    """

    case_index: int
    confidence: Share | None = None
    limitations: Annotated[tuple[str, ...], Field(min_length=1)]
    provenance: Provenance

    def as_markdown(self, *, said: Collection[str] = ()) -> str:
        """Write the report under a third-level heading, its words escaped, without limitations that are said elsewhere.

        Args:
            said: those limitations.
        """
        source = self.provenance
        model = f"language model {escape(source.model)}" if source.language_model else "no language model"
        sure = ", ".join(
            part
            for part in ("" if self.confidence is None else f"confidence {self.confidence:.2f}", escape(self.certainty))
            if part
        )
        sections = [
            f"### Case {self.case_index}, {escape(source.strategy)}",
            f"**{RANDOM_WEIGHTS_NOTICE}**" if source.random_weights else "",
            f"**Impression.** {escape(self.impression)}",
            f"**Label.** {self.label or 'none'}" + (f" ({sure})" if sure else ""),
            _listed("Findings", [f"{escape(f.name)}: **{f.presence}**. {escape(f.detail)}" for f in self.findings]),
            _listed("Differential", map(escape, self.differential)),
            f"**Image quality.** {escape(self.image_quality)}" if self.image_quality else "",
            _listed("Said besides", map(escape, self.asides)),
            _listed("Limitations", [escape(each) for each in self.limitations if each not in said]),
            f"*Written by {escape(source.generator)} {escape(source.version)} ({model}) on {escape(source.dataset)}, "
            f"classifier {escape(source.classifier_sha256[:12])}.*",
        ]
        return "\n\n".join(section for section in sections if section) + "\n"


def _listed(title: str, lines: Iterable[str]) -> str:
    items = "\n".join(f"- {line}" for line in lines)
    return f"**{title}**\n\n{items}" if items else ""


Control = str
"""How a request differs from the plain one: `none`, or a name of `models.report_generation.controls.CONTROLS`."""


class Request(_Frozen):
    """One report that is asked for.

    Attributes:
        case: the evidence, as the generator is told it.
        image: position of the image in the array that travels beside the requests, or None for no image.
        image_sha256: digest of that image's pixels, or None.
        strategy: prompting strategy.
        control: how it differs from the plain request for this case and strategy.
    """

    case: Case
    image: int | None
    image_sha256: str | None
    strategy: str
    control: Control = "none"


class Usage(_Frozen):
    """What a report took.

    Attributes:
        prompt_tokens: tokens of the prompt, image tokens included, padding not.
        generated_tokens: tokens written, the end of turn included.
        finish_reason: "stop" where the generator ended it, "length" where the limit did.
        seconds: its share of the seconds of its batch.
        batch_size: reports in its batch; on a server, requests that were in flight together.
        peak_gib: peak GPU memory of its batch in GiB, or None on a CPU.
        thought_tokens: how many of the generated tokens were a thought before the answer, its marks included.
        attention: how attention was computed, where that is known.
    """

    prompt_tokens: int
    generated_tokens: int
    finish_reason: Literal["stop", "length"]
    seconds: float
    batch_size: int
    peak_gib: float | None
    thought_tokens: int = 0
    attention: str | None = None


class Answer(_Frozen):
    """What came of a request.

    Attributes:
        row_id: digest of all that decides the answer.
        case_index: position of the case's own image in the test split.
        strategy: prompting strategy.
        control: how the request differed from the plain one.
        shown_probability: the probability that the generator was told, or None.
        prompt: what it was told in words.
        text: what it wrote; empty where it failed.
        report: the report read from the text, or None where there is none.
        problem: why there is none.
        score: P(yes) of the yes-or-no question, or None for a report.
        choice_mass: P(Yes) + P(No): how much of the answer's probability the two choices hold; None where it is not
            known.
        decided_by: how a server was made to answer the yes-or-no question; None where no server was.
        usage: what it took, or None where it failed.
    """

    row_id: str
    case_index: int
    strategy: str
    control: Control
    shown_probability: Share | None
    prompt: str
    text: str
    report: Report | None = None
    problem: str | None = None
    score: Share | None = None
    choice_mass: Share | None = None
    decided_by: DecidedBy | None = None
    usage: Usage | None = None

    @property
    def undecided(self) -> bool:
        """Whether its choices hold less than `LEAST_CHOICE_MASS`."""
        return self.choice_mass is not None and self.choice_mass < LEAST_CHOICE_MASS

    @property
    def decided_score(self) -> float | None:
        """The score, or None where the question was not asked, has no answer or is undecided."""
        return None if self.undecided else self.score
