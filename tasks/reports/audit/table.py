"""The answers as one table, and what the audit says of each row, for the tracker."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.report_generation.prompting import YES_NO
from models.report_generation.schema import Answer, Case, Label
from tasks.reports.audit.metrics import AuditedReport
from tasks.reports.audit.references import ReferenceAudit

COLUMNS = (
    "case", "group", "truth", "classifier p", "strategy", "control", "told p", "label", "certainty", "impression",
    "P(yes)", "P(Yes) + P(No)", "problem", "claims", "prompt tokens", "generated tokens", "finish", "seconds", "text",
    "row",
)  # fmt: skip
REFERENCE_COLUMNS = ("reference", "chrF")


def answers_table(
    answers: Sequence[Answer],
    reports: Sequence[AuditedReport],
    cases: Mapping[int, Case],
    groups: Mapping[int, str],
    truths: Mapping[int, Label],
    references: ReferenceAudit | None = None,
) -> dict[str, Any]:
    """Put every answer into a row.

    Args:
        answers: to plain requests and under controls.
        reports: the audited ones of them.
        cases: the classifier's own evidence, by case index.
        groups: why each case was chosen, by case index.
        truths: the true classes, by case index.
        references: the comparison with reference reports, if any were given; they are two more columns.

    Returns:
        `columns` and `data`, as MLflow shows tables.
    """
    claims = {entry.answer.row_id: len(entry.claims) for entry in reports}
    rows = [
        [
            a.case_index, groups[a.case_index], truths[a.case_index], cases[a.case_index].probability,
            a.strategy, a.control, a.shown_probability,
            *([a.report.label, a.report.certainty, a.report.impression] if a.report else [None] * 3),
            "undecided" if a.undecided else a.score, a.choice_mass, a.problem, claims.get(a.row_id),
            *([a.usage.prompt_tokens, a.usage.generated_tokens, a.usage.finish_reason, a.usage.seconds]
              if a.usage else [None] * 4),
            a.report.as_markdown() if a.report else a.text, a.row_id,
            *([references.texts.get(a.case_index), references.chrf.get(a.row_id)] if references else []),
        ]
        for a in answers
    ]  # fmt: skip
    return {"columns": [*COLUMNS, *(REFERENCE_COLUMNS if references else ())], "data": rows}


def feedback_by_row(answers: Sequence[Answer], reports: Sequence[AuditedReport]) -> dict[str, dict[str, float | bool]]:
    """Score every row that asks for a report: whether it parses and, of the plain ones, what the audit says of it.

    Args:
        answers: to plain requests and under controls.
        reports: the audited ones of them.

    Returns:
        Scores by name, by row id.
    """
    feedback: dict[str, dict[str, float | bool]] = {
        a.row_id: {"parsed": a.report is not None} for a in answers if a.strategy != YES_NO
    }
    for entry in reports:
        feedback[entry.answer.row_id] |= {
            "label_correct": entry.label_right,
            "agrees_with_classifier": entry.agrees,
            "unsupported_claims": float(len(entry.claims)),
        }
    return feedback
