import numpy as np
import pytest

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from models.report_generation.regions import NO_FOCUS
from models.report_generation.schema import Case, NeighbourEvidence, Report
from models.report_generation.template import AUTHORSHIP, IMAGE_QUALITY, TemplateGenerator


def neighbours(*labels: str) -> tuple[NeighbourEvidence, ...]:
    return tuple(
        NeighbourEvidence(index=100 + rank, label=label, similarity=0.9 - rank / 100, split="train")
        for rank, label in enumerate(labels)
    )


def write(*, phantoms: bool = False, size: int = 28, **changes) -> Report:
    fields = {
        "index": 3,
        "image_sha256": "ab",
        "probability": 0.97,
        "threshold": 0.5,
        "heat_region": "upper left of the image",
        "heat_share": 0.42,
        "neighbours": neighbours("pneumonia", "pneumonia", "normal"),
    }
    generator = TemplateGenerator("pneumoniamnist", "f" * 64, phantoms=phantoms)
    return generator.generate([Case(**(fields | changes))], np.zeros((1, size, size), np.uint8))[0]


@pytest.mark.parametrize(
    ("probability", "words", "presence", "label"),
    [
        (1.0, "is consistent with pneumonia", "present", "pneumonia"),
        (0.9, "is consistent with pneumonia", "present", "pneumonia"),
        (0.899, "probably shows pneumonia", "present", "pneumonia"),
        (0.625, "probably shows pneumonia", "present", "pneumonia"),
        (0.624, "possibly shows pneumonia", "uncertain", "pneumonia"),
        (0.49, "possibly shows pneumonia", "uncertain", "normal"),
        (0.375, "possibly shows pneumonia", "uncertain", "normal"),
        (0.374, "less likely shows pneumonia than not", "absent", "normal"),
        (0.1, "less likely shows pneumonia than not", "absent", "normal"),
        (0.099, "is unlikely to show pneumonia", "absent", "normal"),
        (0.0, "is unlikely to show pneumonia", "absent", "normal"),
    ],
)
def test_words_follow_the_probability(probability: float, words: str, presence: str, label: str):
    report = write(probability=probability)
    assert words in report.impression
    assert f"calibrated probability {probability:.2f}" in report.impression
    assert report.findings[0].presence == presence
    assert report.label == label
    assert report.confidence == pytest.approx(probability if label == "pneumonia" else 1 - probability)


@pytest.mark.parametrize(("probability", "threshold", "label"), [(0.85, 0.95, "normal"), (0.2, 0.1, "pneumonia")])
def test_a_threshold_against_the_probability_is_said(probability: float, threshold: float, label: str):
    report = write(probability=probability, threshold=threshold)
    assert report.label == label
    assert "the two disagree" in report.impression
    assert report.findings[0].presence == "uncertain"
    assert report.certainty.startswith("uncertain")


def test_heat_is_told_or_said_to_have_no_focus():
    assert "strongest in the upper left of the image (42% of the heat)" in write().impression
    report = write(heat_region=NO_FOCUS, heat_share=0.0)
    assert "Its heat map shows no focus." in report.impression
    assert report.findings[1].presence == "absent"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ((), "No labelled cases were compared."),
        (("pneumonia",), "Of the 1 most similar labelled case, 1 is labelled pneumonia, which agrees"),
        (("pneumonia", "pneumonia", "normal"), "Of the 3 most similar labelled cases, 2 are labelled pneumonia, which"),
        (("normal", "pneumonia"), "1 is labelled pneumonia, so the similar cases are divided"),
        (("normal", "normal", "pneumonia"), "1 is labelled pneumonia, so the similar cases disagree with the"),
        (("normal", "normal"), "0 are labelled pneumonia, so the similar cases disagree with the classifier; read"),
    ],
)
def test_neighbours_are_weighed(labels: tuple[str, ...], words: str):
    report = write(neighbours=neighbours(*labels))
    assert words in report.impression
    if labels:
        assert f"nearest: train 100, {labels[0]}, similarity 0.90" in report.impression


def test_without_a_probability_nothing_is_concluded():
    report = write(probability=None)
    assert report.label is None
    assert report.confidence is None
    assert report.certainty == "not judged"
    assert [finding.presence for finding in report.findings] == ["not assessable", "uncertain", "not assessable"]
    assert report.findings[0].detail == "Not judged."
    assert report.impression.startswith("No probability of the classifier was given, and so no label.")
    assert "Of the 3 most similar labelled cases, 2 are labelled pneumonia, with no label of the" in report.impression
    assert "calibrated probability" not in report.impression
    assert "None" not in report.as_markdown()
    assert write(probability=None, neighbours=neighbours("normal")).label is None


def test_no_other_explanation_and_no_image_quality_is_made_up():
    report = write()
    assert report.differential == ()
    assert report.image_quality == IMAGE_QUALITY


def test_every_report_says_who_wrote_it_and_what_it_cannot_know():
    for probability in np.linspace(0, 1, 21):
        report = write(probability=float(probability))
        assert AUTHORSHIP in report.impression
        assert RESEARCH_NOTICE in report.limitations
        assert "At 28×28 pixels" in " ".join(report.limitations)
        assert not report.provenance.language_model
        assert report.provenance.model is None
        assert PHANTOM_NOTICE not in report.limitations
    assert "At 64×64 pixels" in " ".join(write(size=64).limitations)


def test_phantoms_are_named_first():
    report = write(phantoms=True)
    assert report.limitations[0] == PHANTOM_NOTICE
    assert report.provenance.phantoms


def test_order_is_kept_and_words_repeat():
    generator = TemplateGenerator("pneumoniamnist", "f" * 64, phantoms=False)
    cases = [
        Case(index=i, image_sha256="", probability=i / 9, threshold=0.5, heat_region=NO_FOCUS, heat_share=0)
        for i in (9, 2, 5)
    ]
    images = np.zeros((3, 28, 28), np.uint8)
    reports = generator.generate(cases, images)
    assert [report.case_index for report in reports] == [9, 2, 5]
    assert reports == generator.generate(cases, images)
    assert generator.generate([], images[:0]) == []
    with pytest.raises(ValueError, match="3 cases need as many images, not 2"):
        generator.generate(cases, images[:2])
