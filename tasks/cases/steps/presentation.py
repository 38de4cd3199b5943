"""Steps that show cases: their pages, the gallery, the table, and what the audit says of the reports."""

from tasks.cases.stored_cases import load_cases
from tasks.execution.caching import step
from tasks.records.base import FiguresRecord
from tasks.records.cases import CaseFilesRecord, JudgedRecord, ShownRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import AnswersRecord, ReportAuditRecord
from tasks.reports.stored_lists import ANSWERS
from tasks.storage.store import Store


@step
def audit_reports_of_cases(judged: JudgedRecord, answers: AnswersRecord, chest: bool) -> ReportAuditRecord:
    """Check the reports: read, in agreement with the classifier, and without what no picture shows."""
    from tasks.cases.report_audit import audit_case_reports

    store = Store()
    given = ANSWERS.load(store, answers.answers)
    found = audit_case_reports(given, dict(enumerate(load_cases(store, judged))), chest=chest)
    rows = [[each.case_index, each.strategy, each.report.as_markdown() if each.report else each.text] for each in given]
    return ReportAuditRecord(
        metrics=found.metrics,
        table=store.put_json({"columns": ["case", "strategy", "text"], "data": rows}),
        feedback=store.put_json(found.feedback),
        claims=store.put_json(found.claims),
    )


@step
def show_pages(
    shown: ShownRecord,
    first: int,
    last: int,
    answers: AnswersRecord | None,
    audit: ReportAuditRecord | None,
    source: dict[str, str],
    phantoms: bool,
    random_weights: bool,
) -> CaseFilesRecord:
    """Write the pages of some of the cases, those from `first` up to but without `last`."""
    from tasks.cases.pages import case_page
    from tasks.cases.views import case_views

    store, written = Store(), {}
    given = () if answers is None else ANSWERS.load(store, answers.answers)
    claims = {} if audit is None else store.get_json(audit.claims)
    for view in case_views(store, shown, range(first, last), given, claims):
        name = view.case.short_name
        page = case_page(
            view,
            source=source,
            links={"all cases": "index.html"},
            phantoms=phantoms,
            random_weights=random_weights,
        )
        written[f"{name}.html"] = store.put(page.encode(), "text/html")
    return CaseFilesRecord(files=written)


@step
def show_index(
    judged: JudgedRecord,
    shown: ShownRecord,
    source: dict[str, str],
    links: dict[str, str],
    phantoms: bool,
    random_weights: bool,
) -> CaseFilesRecord:
    """Write the page and the tables of all cases."""
    from tasks.cases.pages import index_page
    from tasks.cases.table import case_csv, case_parquet
    from tasks.shared.png import encode_png

    store, cases = Store(), load_cases(Store(), judged)
    images = store.get_arrays(shown.explained.arrays)["images"]
    paged = [case.digest for case in load_cases(store, shown.judged)]
    thumbnails = {digest: encode_png(image) for digest, image in zip(paged, images, strict=True)}
    page = index_page(
        cases,
        thumbnails,
        paged,
        source=source,
        links=links,
        class_names=shown.reference.labels,
        phantoms=phantoms,
        random_weights=random_weights,
    )
    return CaseFilesRecord(
        files={
            "index.html": store.put(page.encode(), "text/html"),
            "cases.csv": store.put(case_csv(cases), "text/csv"),
            "cases.parquet": store.put(case_parquet(cases), "application/x-parquet"),
            "cases.json": judged.cases,
        }
    )


@step
def plot_cases(shown: ShownRecord, dataset: DatasetRecord, count: int) -> FiguresRecord:
    """Draw the first cases side by side: picture, heat map, probability, set and nearest labelled cases."""
    from tasks.cases.figures import gallery
    from tasks.cases.views import case_views
    from tasks.shared.figures import Source

    store = Store()
    views = list(case_views(store, shown, range(count)))
    drawn = gallery(views, source=Source.of(dataset, shown.reference.classifier.title))
    return FiguresRecord(figures={"cases": store.put(drawn, "image/png")})
