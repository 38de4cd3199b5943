import math

import pytest

from models.report_generation.schema import Finding, Provenance, Report
from tasks.reports.audit.conservatism import is_hedged, label_bias, reticence
from tests.tasks.shared.test_estimates import wilson

P, N = "pneumonia", "normal"
SOURCE = Provenance(
    generator="hand",
    version="1",
    strategy="hand",
    language_model=False,
    dataset="",
    classifier_sha256="",
    phantoms=True,
)


def report(label=P, impression="There is pneumonia.", certainty="", findings=()) -> Report:
    return Report(
        case_index=0,
        label=label,
        impression=impression,
        certainty=certainty,
        findings=tuple(Finding(name=name, presence=presence, detail="") for name, presence in findings),
        limitations=("It may be wrong.",),
        provenance=SOURCE,
    )


def test_the_two_errors_of_a_hand_made_set():
    bias = label_bias([N, N, N, P, N, P, None], [P, P, P, P, N, N, N])
    assert (bias["pneumonia_called_normal"].value, bias["pneumonia_called_normal"].n) == (3 / 4, 4)
    assert (bias["normal_called_pneumonia"].value, bias["normal_called_pneumonia"].n) == (1 / 3, 3)
    difference = bias["conservative_bias"]
    assert difference.value == pytest.approx(3 / 4 - 1 / 3)
    # Newcombe (1998), method 10: the Wilson bounds of both shares, added as squares.
    (low, high), (other_low, other_high) = wilson(3, 4), wilson(1, 3)
    assert difference.low == pytest.approx(difference.value - math.hypot(3 / 4 - low, other_high - 1 / 3))
    assert difference.high == pytest.approx(difference.value + math.hypot(high - 3 / 4, 1 / 3 - other_low))


def test_a_missing_label_is_neither_error_and_one_class_has_no_bias():
    bias = label_bias([None, None], [P, P])
    assert bias["pneumonia_called_normal"].value == 0
    assert math.isnan(bias["normal_called_pneumonia"].value)
    assert math.isnan(bias["conservative_bias"].value)


@pytest.mark.parametrize(
    "words",
    [
        "Possible pneumonia.",
        "This may be early disease.",
        "Pneumonia cannot be excluded.",
        "Early infection is not entirely excluded.",
        "We can't fully rule out consolidation.",
        "The appearance is indeterminate.",
        "It is unclear.",
        "DIFFICULT TO SAY.",
        "With some uncertainty, normal.",
    ],
)
def test_hedging_words_are_found_in_impression_and_certainty(words: str):
    assert is_hedged(report(impression=words))
    assert is_hedged(report(certainty=words))


@pytest.mark.parametrize(
    "words",
    [
        "There is pneumonia.",
        "Pneumonia is probable.",
        "Consistent with pneumonia, probability .93.",
        "Normal; disease is unlikely.",
        "It is impossible to mistake.",
        "Mayonnaise in the almighty.",  # hides "may" and "might"
    ],
)
def test_commitment_is_no_hedging(words: str):
    assert not is_hedged(report(impression=words, certainty=words))


def test_a_missing_label_or_an_uncertain_finding_hedges():
    assert is_hedged(report(label=None))
    assert is_hedged(report(findings=[("Focal opacity", "uncertain")]))
    assert is_hedged(report(findings=[("signs of pneumonia", "uncertain")]))
    assert not is_hedged(report(findings=[("Focal opacity", "absent"), ("heart size", "uncertain")]))


def test_reticence_of_a_hand_made_set():
    reports = [
        None,
        report(),
        report(findings=[("opacity", "present"), ("heart size", "not assessable"), ("bones", "not assessable")]),
        report(label=None, findings=[("consolidation", "absent")]),
    ]
    assert {name: (rate.value, rate.n) for name, rate in reticence(reports).items()} == {
        "unparsed_rate": (1 / 4, 4),
        "hedging_rate": (1 / 3, 3),
        "not_assessable_findings": (2 / 4, 4),
        "not_assessable_reports": (1 / 3, 3),
    }
