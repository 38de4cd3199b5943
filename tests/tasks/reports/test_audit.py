import numpy as np
import pytest

from models.report_generation.schema import Case, Finding, Report
from models.report_generation.template import TemplateGenerator
from tasks.reports.audit import LEXICON, audit_reports, unsupported_claims


def make_cases(*probabilities: float) -> list[Case]:
    region = {"heat_region": "upper left of the image", "heat_share": 0.3}
    return [Case(index=i, image_sha256="", probability=p, threshold=0.5, **region) for i, p in enumerate(probabilities)]


def make_reports(cases: list[Case]) -> list[Report]:
    generator = TemplateGenerator("pneumoniamnist", "f" * 64, phantoms=False)
    return generator.generate(cases, np.zeros((len(cases), 28, 28), np.uint8))


CLAIMING = {
    "Opacity in the right lower lobe.": {"side of the patient", "lobe"},
    "Left-sided consolidation.": {"side of the patient"},
    "The left lung is hazy.": {"side of the patient"},
    "Haziness on the right.": {"side of the patient"},
    "Bilateral infiltrates.": {"side of the patient"},
    "Patchy change in the left upper zone.": {"side of the patient"},
    "RLL pneumonia.": {"lobe"},
    "Lobar consolidation.": {"lobe"},
    "No pleural effusion.": {"effusion"},
    "Blunting of a costophrenic angle.": {"effusion"},
    "The heart is enlarged.": {"heart size"},
    "Normal cardiac silhouette.": {"heart size"},
    "Cardiomegaly.": {"heart size"},
    "No rib fracture.": {"bones"},
    "Osseous structures are intact.": {"bones"},
    "An endotracheal tube is in place.": {"device"},
    "Central line in good position.": {"device"},
    "A nodule of 12 mm.": {"measurement"},
    "It measures 1.5cm.": {"measurement"},
    "Compared with the prior study there is more haze.": {"comparison with earlier images"},
    "The appearance is unchanged.": {"comparison with earlier images"},
    "The opacity has worsened.": {"comparison with earlier images"},
    "A 4-year-old with cough.": {"age"},
    "Typical of a paediatric chest.": {"age"},
    "Chest of a child.": {"age"},
    "The patient is a boy.": {"sex"},
    "She has pneumonia.": {"sex"},
}

NOT_CLAIMING = [
    "The heat map is strongest in the upper left of the image.",
    "Most heat lies on the right side of the image.",
    "The evidence is in the lower right of the picture and the middle left of the image.",
    "The classifier is right, and that is all that is left to say.",
    "The probability is 0.93 at a threshold of 0.50, with 5 similar cases.",
    "A global view: the collar of probability is wide.",  # hides "lob" and "old"
    "28×28 pixels.",
    "The prior probability is .74, the interval is wide.",
    "This leads to caution; line by line, old and new words.",
    "Human readers and others, hereby, this and them.",  # hides "man", "her", "he", "his"
    "Signs consistent with pneumonia: hazy opacity.",
    "Distribution of scores, contribution of pixels, described above.",  # hides "rib"
]


@pytest.mark.parametrize("sentence", CLAIMING)
def test_claims_are_found(sentence: str):
    assert {kind for kind, _ in unsupported_claims(sentence)} == CLAIMING[sentence]
    assert {kind for kind, _ in unsupported_claims(sentence.upper())} == CLAIMING[sentence]


def test_every_kind_has_an_example():
    assert set().union(*CLAIMING.values()) == set(LEXICON)


@pytest.mark.parametrize("sentence", NOT_CLAIMING)
def test_harmless_sentences_pass(sentence: str):
    assert unsupported_claims(sentence) == []


def test_each_claim_is_counted_with_its_words():
    found = unsupported_claims("No effusion. Right lower lobe opacity of 12 mm, effusion unlikely.")
    assert sorted(found) == [
        ("effusion", "effusion"),
        ("effusion", "effusion"),
        ("lobe", "lobe"),
        ("measurement", "12 mm"),
        ("side of the patient", "Right lower"),
    ]


def test_template_reports_claim_nothing_unsupported():
    cases = make_cases(*np.linspace(0, 1, 41).tolist())
    result = audit_reports(make_reports(cases), cases, ["normal"] * 41)
    assert result.metrics["reports/unsupported_claims_per_report"] == 0
    assert all(entry.claims == () for entry in result.reports)


def test_metrics_of_a_hand_made_set():
    cases = make_cases(0.9, 0.9, 0.1, 0.1)
    reports = make_reports(cases)
    answers = [
        reports[0],  # right, agrees
        reports[1].model_dump(mode="json"),  # wrong, agrees; as it comes from a store
        reports[2].model_copy(update={"label": "pneumonia", "impression": "Right-sided effusion."}),  # right, disagrees
        "I see a pleural effusion of 3 cm.",  # no report
    ]
    result = audit_reports(answers, cases, ["pneumonia", "normal", "pneumonia", "normal"])
    assert result.metrics == {
        "reports/count": 4,
        "reports/parsed": 0.75,
        "reports/label_accuracy": 0.5,
        "reports/agreement_with_classifier": 0.5,
        "reports/unsupported_claims_per_report": 1.0,  # two in the third, two in the text that is no report
    }
    assert result.reports[1].report == reports[1]
    assert result.reports[3].report is None
    assert [kind for kind, _ in result.reports[3].claims] == ["effusion", "measurement"]


@pytest.mark.parametrize("answer", [None, 3, [], {"label": "normal"}, {"label": "normal", "note": "an effusion"}, ""])
def test_what_is_no_report_is_counted_and_not_dropped(answer: object):
    result = audit_reports([answer], make_cases(0.9), ["pneumonia"])
    assert result.metrics["reports/count"] == 1
    assert result.metrics["reports/parsed"] == 0
    assert result.metrics["reports/label_accuracy"] == 0
    assert result.metrics["reports/unsupported_claims_per_report"] == ("effusion" in str(answer))


def test_findings_count_unless_said_not_to_be_assessable():
    cases = make_cases(0.9)
    report = make_reports(cases)[0]
    for presence, count in (("absent", 1), ("not assessable", 0)):
        finding = Finding(name="effusion", presence=presence, detail="None seen.")
        changed = report.model_copy(update={"findings": (finding,)})
        result = audit_reports([changed], cases, ["pneumonia"])
        assert result.metrics["reports/unsupported_claims_per_report"] == count


def test_mismatched_input_is_refused():
    cases = make_cases(0.9, 0.1)
    reports = make_reports(cases)
    with pytest.raises(ValueError, match="1 answers and 2 truths do not match 2 cases"):
        audit_reports(reports[:1], cases, ["normal", "normal"])
    with pytest.raises(ValueError, match="do not match 0 cases"):
        audit_reports([], [], [])
    with pytest.raises(ValueError, match="the report of case 1 stands at the place of case 0"):
        audit_reports(reports[::-1], cases, ["normal", "normal"])
