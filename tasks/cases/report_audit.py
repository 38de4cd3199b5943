"""What reports on a person's own pictures can be checked for: that they can be read, agree and invent nothing.

Nobody knows the true class of such a picture, so that nothing is said of whether a report is right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.report_generation.prompting import plain_reports
from models.report_generation.schema import Answer
from tasks.cases.case import Case
from tasks.reports.audit.metrics import claims_of


@dataclass(frozen=True)
class CaseReportAudit:
    """What was found.

    Attributes:
        metrics: `cases/reports`, `cases/reports_parsed` and the like.
        feedback: scores by name, by row id.
        claims: kind, words and status of each unsupported claim, by row id.
    """

    metrics: dict[str, float]
    feedback: dict[str, dict[str, float | bool]]
    claims: dict[str, list[list[str]]]


def audit_case_reports(answers: Sequence[Answer], cases: Mapping[int, Case], *, chest: bool = True) -> CaseReportAudit:
    """Check reports on cases of which no truth is known.

    Args:
        answers: what came of every request.
        cases: the cases by the number that the answers give them.
        chest: whether they are about chest X-rays, which alone the lexicon of claims knows.

    Returns:
        The audit.
    """
    plain = plain_reports(answers)
    claims = {
        answer.row_id: [[each.kind, each.words, each.status] for each in (claims_of(answer) if chest else ())]
        for answer in plain
    }
    agrees = {answer.row_id: _label(answer) == _classifier(cases[answer.case_index]) for answer in plain}
    parsed = {answer.row_id: answer.report is not None for answer in plain}
    count = max(len(plain), 1)
    return CaseReportAudit(
        metrics={
            "cases/reports": len(plain),
            "cases/reports_parsed": sum(parsed.values()) / count,
            "cases/reports_agreement_with_classifier": sum(agrees.values()) / count,
            **({"cases/unsupported_claims_per_report": sum(map(len, claims.values())) / count} if chest else {}),
        },
        feedback={
            row: {"parsed": parsed[row], "agrees_with_classifier": agrees[row], "unsupported_claims": len(claims[row])}
            for row in claims
        },
        claims={row: found for row, found in claims.items() if found},
    )


def _label(answer: Answer) -> str | None:
    return answer.report.label if answer.report else None


def _classifier(case: Case) -> str | None:
    return case.classification.label if case.classification else None
