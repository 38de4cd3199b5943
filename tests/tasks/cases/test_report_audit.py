from models.report_generation.schema import Answer, Provenance, Report
from tasks.cases.report_audit import audit_case_reports
from tests.tasks.cases.some_cases import a_case

PROVENANCE = Provenance(
    generator="g", version="1", strategy="s", language_model=True, dataset="d", classifier_sha256="0", phantoms=False
)


def _answer(place, strategy, label, impression="No finding."):
    report = None
    if impression is not None:
        report = Report(
            case_index=place, impression=impression, label=label, limitations=("A limit.",), provenance=PROVENANCE
        )
    return Answer(
        row_id=f"{place} {strategy}", case_index=place, strategy=strategy, control="none", shown_probability=None,
        prompt="", text=impression or "what", report=report, problem=None if report else "It is no report.",
    )  # fmt: skip


def test_reports_are_judged_by_what_can_be_known_without_a_truth():
    cases = {0: a_case("a", 0.9), 1: a_case("b", 0.1)}
    answers = [
        _answer(0, "s", "pneumonia", "There is a pleural effusion on the left side."),
        _answer(1, "s", "pneumonia"),
        _answer(0, "t", None, None),
    ]
    found = audit_case_reports(answers, cases)
    assert found.metrics["cases/reports"] == 3
    assert found.metrics["cases/reports_parsed"] == 2 / 3
    assert found.metrics["cases/reports_agreement_with_classifier"] == 1 / 3
    assert found.metrics["cases/unsupported_claims_per_report"] > 0
    assert list(found.claims) == ["0 s"] and found.claims["0 s"][0][0] == "effusion"
    assert found.feedback["1 s"] == {"parsed": True, "agrees_with_classifier": False, "unsupported_claims": 0}


def test_no_report_is_no_division_by_zero():
    assert audit_case_reports([], {}).metrics["cases/reports"] == 0
