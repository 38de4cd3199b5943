"""Step that audits the written reports."""

from tasks.execution.caching import step
from tasks.records.reports import AnswersRecord, CasesRecord, ReferencesRecord, ReportAuditRecord
from tasks.reports.stored_lists import ANSWERS, CASES, REFERENCES
from tasks.storage.store import Store


@step
def audit_written_reports(
    cases: CasesRecord, answers: AnswersRecord, references: ReferencesRecord | None = None
) -> ReportAuditRecord:
    """Compare the reports with schema, truth, classifier, lexicon, controls and references; keep them as one table."""
    from tasks.reports.audit.metrics import audit_reports  # statsmodels and scikit-learn take a second to import
    from tasks.reports.audit.table import answers_table, feedback_by_row

    store = Store()
    evidence = {case.index: case for case in CASES.load(store, cases.cases)}
    truths, given = cases.truth_by_index, ANSWERS.load(store, answers.answers)
    groups = dict(zip(cases.indices, cases.groups, strict=True))
    wanted = REFERENCES.load(store, references.references) if references else ()
    audit = audit_reports(given, evidence, truths, wanted)
    claims = {
        entry.answer.row_id: [[claim.kind, claim.words, claim.status] for claim in entry.claims]
        for entry in audit.reports
        if entry.claims
    }
    return ReportAuditRecord(
        metrics=audit.metrics,
        table=store.put_json(answers_table(given, audit.reports, evidence, groups, truths, audit.references)),
        feedback=store.put_json(feedback_by_row(given, audit.reports)),
        claims=store.put_json(claims),
        signatures=audit.references.signatures if audit.references else {},
    )
