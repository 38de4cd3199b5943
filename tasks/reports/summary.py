"""The markdown report of the reports stage."""

from collections.abc import Sequence

from models.report_generation.schema import Case, Label
from tasks.reports.audit import AuditedReport, ReportAudit
from tasks.shared.markdown import document, table


def reports_summary(
    cases: Sequence[Case],
    groups: Sequence[str],
    truths: Sequence[Label],
    result: ReportAudit,
    *,
    generator: str,
    phantoms: bool,
) -> str:
    """Write the report on the reports.

    Args:
        cases: the evidence that the generator was given.
        groups: why each case was chosen.
        truths: the true classes.
        result: the audit of what was written.
        generator: name of what wrote the reports.
        phantoms: whether the images are drawn phantoms.

    Returns:
        Markdown.
    """
    rows = [
        _row(case, group, truth, entry)
        for case, group, truth, entry in zip(cases, groups, truths, result.reports, strict=True)
    ]
    header = ["case", "group", "truth", "classifier p", "report", "right", "agrees", "similar cases", "claims"]
    claims = [
        [case.index, kind, words]
        for case, entry in zip(cases, result.reports, strict=True)
        for kind, words in entry.claims
    ]
    texts = [
        f"### Case {case.index}\n\nNo report: what was written does not fit the schema.\n"
        if entry.report is None
        else entry.report.as_markdown()
        for case, entry in zip(cases, result.reports, strict=True)
    ]
    return document(
        "Reports",
        [
            ("What wrote them", _author(generator, result)),
            ("Audit", table(["metric", "value"], [(name, _plain(value)) for name, value in result.metrics.items()])),
            ("Cases", table(header, rows)),
            ("Unsupported claims", table(["case", "kind", "words"], claims) if claims else "None found."),
            ("Limits", _LIMITS),
            ("Full text", "\n".join(texts)),
        ],
        phantoms=phantoms,
    )


_LIMITS = """
- The cases are chosen to show right, wrong and borderline ones in equal parts: the shares above describe these cases,
  not the test split.
- A report that only words the classifier's label agrees with it by construction; its accuracy is the classifier's.
- Unsupported claims are found with a lexicon of whole words, which misses paraphrases and does not read negations.
- No radiologist has read the reports.
"""


def _author(generator: str, result: ReportAudit) -> str:
    sources = [entry.report.provenance for entry in result.reports if entry.report]
    if not sources:
        return f"The generator `{generator}`; none of its answers fits the schema."
    models = sorted({str(source.model) for source in sources if source.language_model})
    if models:
        return f"The generator `{generator}`, with the language model {', '.join(models)}."
    return f"The generator `{generator}`. No language model wrote any of them."


def _row(case: Case, group: str, truth: Label, entry: AuditedReport) -> list[object]:
    pneumonia = sum(neighbour.label == "pneumonia" for neighbour in case.neighbours)
    return [
        case.index,
        group,
        truth,
        case.probability,
        entry.report.label if entry.report else "does not fit",
        "yes" if entry.label_right else "no",
        "yes" if entry.agrees else "no",
        f"{pneumonia} of {len(case.neighbours)} pneumonia",
        len(entry.claims),
    ]


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() else value
