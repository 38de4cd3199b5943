import numpy as np
import pytest

from models.report_generation.schema import Case, NeighbourEvidence, Report
from models.report_generation.template import TemplateGenerator

CELLS = ("basophil", "eosinophil", "erythroblast")
BREAST = ("malignant", "normal, benign")


def neighbours(*labels: str) -> tuple[NeighbourEvidence, ...]:
    return tuple(
        NeighbourEvidence(index=rank, label=label, similarity=0.9, split="train") for rank, label in enumerate(labels)
    )


def write(names, **fields) -> Report:
    case = Case(
        index=3, image_sha256="", heat_region="upper left of the image", heat_share=0.4,
        neighbours=fields.pop("neighbours", ()), **fields,
    )  # fmt: skip
    return TemplateGenerator("cells", "f" * 64, False, names).generate([case], np.zeros((1, 28, 28, 3), np.uint8))[0]


def of_cells(probability: float | None, next_likeliest: float = 0.05, **fields) -> Report:
    decision = {"labels": ("erythroblast", "basophil"), "threshold": next_likeliest, "two_classes": False}
    return write(CELLS, probability=probability, **decision, **fields)


@pytest.mark.parametrize(
    ("probability", "words", "presence"),
    [
        (0.93, "is consistent with basophil", "present"),
        (0.7, "is probably basophil", "present"),
        (0.5, "is possibly basophil", "uncertain"),
        (0.36, "is sooner basophil than any other class", "uncertain"),
    ],
)
def test_of_many_classes_the_likeliest_is_named_with_its_probability_and_the_next(probability, words, presence):
    report = of_cells(probability)
    assert f"{words} (calibrated probability {probability:.2f}; next: erythroblast, 0.05)" in report.impression
    assert "evidence for basophil is strongest in the upper left" in report.impression
    assert (report.label, report.confidence) == ("basophil", probability)
    assert (report.findings[0].name, report.findings[0].presence) == ("class: basophil", presence)
    assert report.findings[2].detail == "The classifier tells 3 classes apart and nothing more."
    assert "The classifier knows 3 classes" in " ".join(report.limitations)
    assert "pneumonia" not in report.as_markdown()
    assert "radiolog" not in report.as_markdown()


@pytest.mark.parametrize(
    ("found", "judgement"),
    [
        (("basophil", "basophil", "eosinophil", "erythroblast"), "agrees with the classifier"),
        (("basophil", "eosinophil"), "are divided"),
        (("basophil", "eosinophil", "eosinophil"), "disagree with the classifier"),
        (("eosinophil",), "disagree with the classifier"),
    ],
)
def test_similar_cases_agree_where_the_class_is_commoner_than_any_other(found, judgement):
    assert judgement in of_cells(0.9, neighbours=neighbours(*found)).impression


@pytest.mark.parametrize(
    ("probability", "threshold", "label", "figures"),
    [
        (0.8, 0.6, "normal, benign", "calibrated probability 0.80, operating threshold 0.60"),
        (0.2, 0.6, "malignant", "calibrated probability 0.80, operating threshold 0.40"),
    ],
)
def test_of_two_classes_either_is_worded_by_its_own_probability(probability, threshold, label, figures):
    report = write(BREAST, probability=probability, threshold=threshold, labels=BREAST)
    assert report.label == label
    assert report.confidence == pytest.approx(0.8)
    assert f"is probably {label} ({figures})." in report.impression
    assert f"evidence for {label} " in report.impression
    assert "disagree" not in report.impression


def test_a_threshold_against_the_probability_is_said():
    report = write(BREAST, probability=0.55, threshold=0.6, labels=BREAST)
    assert report.label == "malignant"
    assert "By probability it would be normal, benign: the two disagree" in report.impression
    assert report.findings[0].presence == "uncertain"


def test_without_a_probability_nothing_is_concluded():
    report = of_cells(None)
    assert (report.label, report.confidence, report.certainty) == (None, None, "not judged")
