"""A first audit of reports: do they fit the schema, agree with the truth, and claim what the image cannot show?"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from models.report_generation.schema import Case, Label, Report

_PICTURE = r"(?!(?:\W+\w+){0,3}?\W+(?:of|in)\W+the\W+(?:image|picture|frame|heat\W?map)\b)"
_ANATOMY = (
    r"(?:sided|lungs?|hemithorax|chest|lobe|hilum|hilar|perihilar|infrahilar|base|basal|basilar|apex|apical|"
    r"hemidiaphragm|costophrenic|pleural?|parenchyma\w*|paracardiac|retrocardiac|ventric\w+|atri\w+|heart)"
)
_POSITION = r"(?:upper|lower|middle|mid|side|half|zones?|fields?|part)"

LEXICON: dict[str, re.Pattern[str]] = {
    kind: re.compile("|".join(patterns), re.IGNORECASE)
    for kind, patterns in {
        "side of the patient": (
            rf"\b(?:left|right)\W+{_ANATOMY}\b",
            rf"\b(?:left|right)\W+{_POSITION}\b{_PICTURE}",
            rf"\b(?:(?:on|to|in|at)\W+the|upper|lower|middle|mid)\W+(?:left|right)\b{_PICTURE}",
            r"\b(?:bi|uni|contra|ipsi)lateral(?:ly)?\b",
        ),
        "lobe": (r"\blob(?:es?|ar)\b", r"\blingular?\b", r"\b(?:RUL|RML|RLL|LUL|LLL)\b"),
        "effusion": (
            r"\beffusions?\b",
            r"\bpleural\W+fluid\b",
            r"\b(?:hydro|haemo|hemo)thorax\b",
            r"\bcostophrenic\b",
        ),
        "heart size": (
            r"\bcardio(?:megaly|mediastinal|thoracic)\b",
            r"\bheart\b",
            r"\bcardiac\b",
            r"\bmediastin(?:um|al)\b",
        ),
        "bones": (
            r"\bribs?\b",
            r"\bfractur(?:es?|ed)\b",
            r"\b(?:bony|osseous|skeletal)\b",
            r"\b(?:clavic(?:les?|ular)|vertebra[el]?|spine|scoliosis)\b",
        ),
        "device": (
            r"\b(?:tubes?|catheters?|pacemakers?|electrodes?|stents?|implants?|prosthes[ie]s|PICC)\b",
            r"\b(?:central|venous|arterial|monitoring)\W+lines?\b",
            r"\b(?:chest|surgical|pigtail)\W+drains?\b",
            r"\b(?:endotracheal|nasogastric|sternotomy)\b",
        ),
        "measurement": (r"(?<![\w.])\d+(?:[.,]\d+)?\s*(?:mm|cm|ml|millimet\w+|centimet\w+|HU)\b",),
        "comparison with earlier images": (
            r"\b(?:prior|previous|earlier|old)\W+(?:stud\w+|exam\w*|images?|imaging|films?|radiographs?|x-?rays?|"
            r"comparison|CTs?)\b",
            r"\b(?:priors|previously|unchanged|stable)\b",
            r"\binterval\W+(?:change|increase|decrease|improvement|worsening|resolution|development)\b",
            r"\b(?:has|have)\W+(?:improved|worsened|progressed|resolved|increased|decreased)\b",
            r"\bnew\W+(?:since|compared)\b",
        ),
        "age": (
            r"\b\d+\W?(?:year|month|week|day)s?\W?old\b",
            r"\baged\W+\d+\b",
            r"\b(?:infants?|neonat\w+|newborns?|toddlers?|child(?:ren)?|p(?:a)?ediatric|adolescents?|teenage\w*|"
            r"adults?|elderly|geriatric)\b",
        ),
        "sex": (
            r"\b(?:males?|females?|man|men|woman|women|boys?|girls?|gentleman|lady)\b",
            r"\b(?:he|she|his|her|him)\b",
        ),
    }.items()
}
"""What small grey pictures without clinical data cannot support, by kind. Matched as whole words in any case, whether
claimed or denied ("no effusion" counts, since that cannot be seen either). "Left of the image" is about the picture and
does not count. It is a lexicon, not an understanding of language: it misses paraphrases."""


@dataclass(frozen=True)
class AuditedReport:
    """One report beside the truth.

    Attributes:
        report: the report, or None where what was written does not fit the schema.
        label_right: whether its label is the true class; False without a report.
        agrees: whether its label is the classifier's; False without a report.
        claims: unsupported claims, as pairs of kind and words.
    """

    report: Report | None
    label_right: bool
    agrees: bool
    claims: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ReportAudit:
    """The audit of a set of reports.

    Attributes:
        metrics: value by MLflow name; shares are of all cases, also those whose report does not fit the schema.
        reports: one a case.
    """

    metrics: dict[str, float]
    reports: tuple[AuditedReport, ...]


def audit_reports(answers: Sequence[object], cases: Sequence[Case], truths: Sequence[Label]) -> ReportAudit:
    """Compare what was written with the schema, the truth, the classifier and the lexicon.

    Args:
        answers: what the generator wrote, one a case: a report, its JSON, or whatever came instead of one. An answer
            that does not fit the schema is counted with a wrong label, and its text is searched for claims.
        cases: the evidence that the generator was given.
        truths: the true classes.

    Returns:
        The audit.

    Raises:
        ValueError: there are no cases, not as many answers or truths as cases, or a report belongs to another case.
    """
    if not cases or not len(answers) == len(cases) == len(truths):
        raise ValueError(f"{len(answers)} answers and {len(truths)} truths do not match {len(cases)} cases")
    audited = tuple(_audit(answer, case, truth) for answer, case, truth in zip(answers, cases, truths, strict=True))
    count = len(audited)
    return ReportAudit(
        metrics={
            "reports/count": float(count),
            "reports/parsed": sum(entry.report is not None for entry in audited) / count,
            "reports/label_accuracy": sum(entry.label_right for entry in audited) / count,
            "reports/agreement_with_classifier": sum(entry.agrees for entry in audited) / count,
            "reports/unsupported_claims_per_report": sum(len(entry.claims) for entry in audited) / count,
        },
        reports=audited,
    )


def unsupported_claims(text: str) -> list[tuple[str, str]]:
    """Search a text for claims that the image cannot support.

    Args:
        text: what a report says.

    Returns:
        Pairs of the lexicon's kind and the words found, by kind, then in the order of the text.
    """
    return [(kind, match.group()) for kind, pattern in LEXICON.items() for match in pattern.finditer(text)]


def _audit(answer: object, case: Case, truth: Label) -> AuditedReport:
    try:
        report = Report.model_validate(answer)
    except ValidationError:
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        return AuditedReport(None, label_right=False, agrees=False, claims=tuple(unsupported_claims(text)))
    if report.case_index != case.index:
        raise ValueError(f"the report of case {report.case_index} stands at the place of case {case.index}")
    claims = tuple(claim for passage in _claiming(report) for claim in unsupported_claims(passage))
    return AuditedReport(report, report.label == truth, report.label == case.label, claims)


def _claiming(report: Report) -> list[str]:
    """Return the passages that claim something: not the limitations, nor what is said not to be assessable."""
    findings = [f for f in report.findings if f.presence != "not assessable"]
    return [report.impression, report.certainty, *(f"{finding.name}: {finding.detail}" for finding in findings)]
