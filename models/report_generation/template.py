"""Reports from a template: the classifier's evidence put into words, without a language model."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from models.report_generation.class_wording import NO_VERDICT, Verdict, class_limitations, class_verdict
from models.report_generation.generator import NOTHING_DONE, Row, Written
from models.report_generation.prompting import Strategy
from models.report_generation.regions import NO_FOCUS
from models.report_generation.schema import (
    CHEST_CLASSES,
    Case,
    Finding,
    Label,
    Presence,
    Provenance,
    Report,
    Request,
)

AUTHORSHIP = "No language model wrote this text: it is a template filled in with the classifier's figures."

IMAGE_QUALITY = "Not judged: the template looks at no pixel."
VERSION = "1"


@dataclass(frozen=True)
class _Band:
    """How a calibrated probability from `lowest` upwards is worded."""

    lowest: float
    certainty: str
    sentence: str
    presence: Presence
    label: Label | None  # the label that the words suggest


_BANDS = (
    _Band(0.9, "consistent with pneumonia", "is consistent with pneumonia", "present", "pneumonia"),
    _Band(0.625, "pneumonia probable", "probably shows pneumonia", "present", "pneumonia"),
    _Band(0.375, "pneumonia possible", "possibly shows pneumonia", "uncertain", None),
    _Band(0.1, "pneumonia less likely", "less likely shows pneumonia than not", "absent", "normal"),
    _Band(0.0, "pneumonia unlikely", "is unlikely to show pneumonia", "absent", "normal"),
)
"""Words by calibrated probability, after the lexicon of Panicek and Hricak ("How Sure Are You, Doctor?", American
Journal of Roentgenology, 2016): consistent with > 90 %, probable ~ 75 %, possible ~ 50 %, less likely ~ 25 %, unlikely
< 10 %; the bounds between lie half way."""


@dataclass(frozen=True)
class TemplateGenerator:
    """Words the calibrated probability, the Grad-CAM region and the nearest labelled cases.

    It looks at no pixel. What small grey pictures without clinical data cannot support is not claimed: the patient's
    sides, lobes, fluid, devices, measurements, age, sex or earlier images. Of pictures that are no chest X-rays it
    names the class and nothing more.

    Attributes:
        dataset: name of the dataset.
        classifier_sha256: digest of the classifier's weights.
        phantoms: whether the images are drawn phantoms.
        labels: names of the classes.
    """

    dataset: str
    classifier_sha256: str
    phantoms: bool
    labels: tuple[Label, ...] = CHEST_CLASSES

    @property
    def name(self) -> str:
        """Short name of the generator."""
        return "template"

    def generate(self, cases: Sequence[Case], images: NDArray[np.uint8]) -> list[Report]:
        """Write one report per case, in the order of the cases.

        Args:
            cases: the evidence.
            images: the same cases' images, shape (cases, height, width) or (cases, height, width, 3), of which only the
                size is used.

        Returns:
            The reports; the same evidence gives the same words.

        Raises:
            ValueError: there are not as many images as cases.
        """
        if len(images) != len(cases):
            raise ValueError(f"{len(cases)} cases need as many images, not {len(images)}")
        height, width = images.shape[1:3]
        provenance = Provenance(
            strategy=self.name,
            generator=self.name,
            version=VERSION,
            model=None,
            language_model=False,
            dataset=self.dataset,
            classifier_sha256=self.classifier_sha256,
            phantoms=self.phantoms,
        )
        limitations = _limitations(height, width, self.phantoms, self.labels)
        return [_report(case, provenance, limitations, self.labels) for case in cases]

    @property
    def identity(self) -> Mapping[str, object]:
        """What the reports name as their source."""
        return {"dataset": self.dataset, "classifier": self.classifier_sha256, "phantoms": self.phantoms}

    @property
    def code(self) -> Callable[..., object]:
        """The template itself."""
        return TemplateGenerator

    @property
    def strategies(self) -> tuple[str, ...]:
        """The one way in which it writes."""
        return (self.name,)

    @property
    def prompts(self) -> tuple[Strategy, ...]:
        """None: there is nothing to prompt."""
        return ()

    def settings(self, strategy: str) -> Mapping[str, object]:
        """Version of the template."""
        return {"version": VERSION}

    def prompt(self, request: Request) -> str:
        """Return the evidence that is put into words."""
        return request.case.model_dump_json()

    def prepare(self) -> None:
        """Do nothing: there is nothing to prepare."""

    def write(
        self, rows: Sequence[Row], images: NDArray[np.uint8], done: Mapping[str, int] = NOTHING_DONE
    ) -> Iterator[list[Written]]:
        """Write the rows as JSON, all at once.

        Args:
            rows: what to write.
            images: shape (images, height, width) or (images, height, width, 3), of which only the size is used.
            done: rows that are written already, and are left out.

        Yields:
            The one batch, unless all rows are done.
        """
        missing = [row for row in rows if row.id not in done]
        if not missing:
            return
        cases = [row.request.case for row in missing]
        reports = self.generate(cases, np.zeros((len(cases), *images.shape[1:]), np.uint8))
        texts = [report.model_dump_json() for report in reports]
        yield [Written(row_id=row.id, text=text) for row, text in zip(missing, texts, strict=True)]

    def read(self, request: Request, text: str) -> Report:
        """Read a report back from its JSON."""
        return Report.model_validate_json(text)


def _report(case: Case, provenance: Provenance, limitations: tuple[str, ...], labels: Sequence[Label]) -> Report:
    verdict, heat = _verdict(case) if case.of_a_chest else class_verdict(case), _heat_sentence(case)
    certainty, count = verdict.certainty, "two" if len(labels) == 2 else str(len(labels))
    return Report(
        case_index=case.index,
        findings=(
            Finding(
                name="signs of pneumonia" if case.of_a_chest else f"class: {_explained(case)}",
                presence=verdict.presence,
                detail=f"{certainty[0].upper()}{certainty[1:]}.",
            ),
            Finding(name="place of the classifier's evidence", presence=_heat_presence(case), detail=heat),
            Finding(
                name="anything else",
                presence="not assessable",
                detail=f"The classifier tells {count} classes apart and nothing more.",
            ),
        ),
        impression=f"{verdict.sentences} {heat} {_neighbour_sentence(case)} {AUTHORSHIP}",
        differential=(),
        label=case.label,
        confidence=verdict.confidence,
        certainty=certainty,
        image_quality=IMAGE_QUALITY,
        limitations=limitations,
        provenance=provenance,
    )


def _explained(case: Case) -> Label:
    """Name the class that the heat map is of: pneumonia, or that which the classifier gives to another picture."""
    return case.labels[1] if case.of_a_chest or case.label is None else case.label


def _verdict(case: Case) -> Verdict:
    if case.probability is None:
        return NO_VERDICT
    band = next(band for band in _BANDS if case.probability >= band.lowest)
    figures = f"calibrated probability {case.probability:.2f}, operating threshold {case.threshold:.2f}"
    sentences = f"For the classifier the image {band.sentence} ({figures})."
    certainty, presence = band.certainty, band.presence
    if band.label is None:
        sentences += f" It is labelled {case.label}, with little certainty."
    elif band.label != case.label:
        # Only with a threshold far from one half: the label follows the threshold, the words the probability.
        certainty, presence = f"uncertain: {certainty} by probability, {case.label} by threshold", "uncertain"
        sentences += (
            f" The threshold nevertheless makes the label {case.label}: the two disagree, so read with caution."
        )
    return Verdict(
        sentences, certainty, presence, case.probability if case.label == "pneumonia" else 1 - case.probability
    )


def _heat_presence(case: Case) -> Presence:
    if case.probability is None:
        return "uncertain"
    return "absent" if case.heat_region == NO_FOCUS else "present"


def _heat_sentence(case: Case) -> str:
    if case.heat_region == NO_FOCUS:
        return "Its heat map shows no focus."
    return (
        f"In its heat map the evidence for {_explained(case)} is strongest in the {case.heat_region} "
        f"({case.heat_share:.0%} of the heat)."
    )


def _neighbour_sentence(case: Case) -> str:
    count = len(case.neighbours)
    if count == 0:
        return "No labelled cases were compared."
    counted = case.label or case.labels[1]
    labels = Counter(neighbour.label for neighbour in case.neighbours)
    same = labels.pop(counted, 0)
    others = max(labels.values(), default=0)  # of the commonest other class
    nearest = case.neighbours[0]
    if case.label is None:
        judgement = "with no label of the classifier to compare"
    elif same > others:
        judgement = "which agrees with the classifier"
    elif same == others:
        judgement = "so the similar cases are divided"
    else:
        judgement = "so the similar cases disagree with the classifier; read with caution"
    cases = "1 most similar labelled case" if count == 1 else f"{count} most similar labelled cases"
    return (
        f"Of the {cases}, {same} {'is' if same == 1 else 'are'} labelled {counted}, {judgement} "
        f"(nearest: {nearest.split} {nearest.index}, {nearest.label}, similarity {nearest.similarity:.2f})."
    )


def _limitations(height: int, width: int, phantoms: bool, labels: Sequence[Label]) -> tuple[str, ...]:
    notices = (PHANTOM_NOTICE, RESEARCH_NOTICE) if phantoms else (RESEARCH_NOTICE,)
    if tuple(labels) != CHEST_CLASSES:
        return (*notices, f"{AUTHORSHIP} No expert has seen it.", *class_limitations(height, width, labels))
    return (
        *notices,
        f"{AUTHORSHIP} No radiologist has seen it.",
        f"At {height}×{width} pixels, and with the picture's orientation unknown, the patient's sides, single lobes, "
        "fluid, heart size, bones, devices and measurements cannot be judged; nothing is said about them.",
        "The dataset holds no clinical data: no age, sex, symptoms or earlier images.",
        "The heat map shows what raised the classifier's score, not where a disease is; left and right are those of "
        "the image.",
        "The classifier knows two classes: anything else an image shows is labelled as one of them.",
        "Cases that look alike to a network need not share a disease.",
    )
