"""Steps that show cases: their pages, the gallery, the table, FHIR, and what the audit says of the reports."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from models.errors import InputError
from models.report_generation.schema import Answer
from tasks.cases import sources
from tasks.cases.steps.judging import load_cases
from tasks.execution.caching import step
from tasks.records.base import FiguresRecord
from tasks.records.cases import CaseFilesRecord, ExplainedRecord, JudgedRecord, PicturesRecord, ReferenceRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import AnswersRecord, ReportAuditRecord
from tasks.records.retrieval import SearchableRecord
from tasks.reports.stored_lists import ANSWERS
from tasks.storage.store import Store


@step
def audit_reports_of_cases(judged: JudgedRecord, answers: AnswersRecord) -> ReportAuditRecord:
    """Check the reports: read, in agreement with the classifier, and without what no picture shows."""
    from tasks.cases.report_audit import audit_case_reports

    store = Store()
    given = ANSWERS.load(store, answers.answers)
    found = audit_case_reports(given, dict(enumerate(load_cases(store, judged))))
    rows = [[each.case_index, each.strategy, each.report.as_markdown() if each.report else each.text] for each in given]
    return ReportAuditRecord(
        metrics=found.metrics,
        table=store.put_json({"columns": ["case", "strategy", "text"], "data": rows}),
        feedback=store.put_json(found.feedback),
        claims=store.put_json(found.claims),
    )


@step
def show_pages(
    files: PicturesRecord,
    judged: JudgedRecord,
    explained: ExplainedRecord,
    reference: ReferenceRecord,
    first: int,
    last: int,
    searchables: list[SearchableRecord],
    answers: AnswersRecord | None,
    audit: ReportAuditRecord | None,
    source: dict[str, str],
    marks: dict[str, bool],
) -> CaseFilesRecord:
    """Write the page and the FHIR bundle of some of the cases, those from `first` up to but without `last`."""
    from tasks.cases.fhir import case_bundle
    from tasks.cases.pages import case_page

    store, written = Store(), {}
    reports = {} if answers is None else _by_case(ANSWERS.load(store, answers.answers))
    claims = {} if audit is None else store.get_json(audit.claims)
    for place, view in _views(
        store, files, judged, explained, range(first, last), searchables, reports, claims, reference.labels
    ):
        case = view.case
        page = case_page(view, source=source, links={"all cases": "index.html"}, **marks)
        written[f"{case.short_name}.html"] = store.put(page.encode(), "text/html")
        bundle = case_bundle(case, [each.report for each in reports.get(place, ()) if each.report])
        written[f"fhir/{case.short_name}.json"] = store.put_json(bundle)
    return CaseFilesRecord(files=written)


@step
def show_index(
    judged: JudgedRecord,
    paged: JudgedRecord,
    explained: ExplainedRecord,
    source: dict[str, str],
    links: dict[str, str],
    marks: dict[str, bool],
) -> CaseFilesRecord:
    """Write the page and the tables of all cases."""
    from tasks.cases.pages import index_page
    from tasks.cases.table import case_csv, case_parquet
    from tasks.shared.png import encode_png

    store, cases = Store(), load_cases(Store(), judged)
    shown = load_cases(store, paged)
    images = store.get_arrays(explained.arrays)["images"]
    thumbnails = {case.digest: encode_png(image) for case, image in zip(shown, images, strict=True) if case.pixels}
    page = index_page(cases, thumbnails, {case.digest for case in shown}, source=source, links=links, **marks)
    return CaseFilesRecord(
        files={
            "index.html": store.put(page.encode(), "text/html"),
            "cases.csv": store.put(case_csv(cases), "text/csv"),
            "cases.parquet": store.put(case_parquet(cases), "application/x-parquet"),
            "cases.json": judged.cases,
        }
    )


@step
def plot_cases(
    files: PicturesRecord,
    judged: JudgedRecord,
    explained: ExplainedRecord,
    searchables: list[SearchableRecord],
    dataset: DatasetRecord,
    reference: ReferenceRecord,
    count: int,
) -> FiguresRecord:
    """Draw the first cases side by side: picture, heat map, probability, set and nearest labelled cases."""
    from tasks.cases.figures import gallery
    from tasks.shared.figures import Source

    store = Store()
    views = [
        view for _, view in _views(store, files, judged, explained, range(count), searchables, {}, {}, reference.labels)
    ]
    if not views:
        return FiguresRecord(figures={})
    drawn = gallery(views, source=Source.of(dataset, reference.classifier.title))
    return FiguresRecord(figures={"cases": store.put(drawn, "image/png")})


def _by_case(answers: Sequence[Answer]) -> dict[int, list[Answer]]:
    found: dict[int, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.case_index, []).append(answer)
    return found


def _views(
    store: Store,
    files: PicturesRecord,
    judged: JudgedRecord,
    explained: ExplainedRecord,
    labels: Sequence[str],
    places: range,
    searchables: Sequence[SearchableRecord],
    reports: Mapping[int, Sequence[Answer]],
    claims: Mapping[str, Sequence[Sequence[str]]],
) -> Iterator[tuple[int, Any]]:
    """Yield what a page shows of each case that can be read, with its place; one original at a time is in memory."""
    from tasks.cases.pages import CaseView
    from tasks.data.pictures.image_file import read_picture_file
    from tasks.reports.pages import Claim

    arrays = store.get_arrays(explained.arrays)
    splits = {each.encoder.name: store.get_arrays(each.dataset.splits) for each in searchables}
    cases = load_cases(store, judged)
    for place in places:
        file, case = files.files[place], cases[place]
        if case.problem is not None:
            continue
        try:
            picture = read_picture_file(sources.read(file), file.name).levels
        except InputError:  # it was there a moment ago: what the classifier saw is kept
            picture = arrays["images"][place]
        yield (
            place,
            CaseView(
                case=case,
                picture=picture,
                image=arrays["images"][place],
                heat=dict(zip(labels, arrays["maps"][place].astype(np.float64), strict=True)),
                neighbours={
                    each.encoder: [splits[each.encoder][f"{hit.split}_images"][hit.index] for hit in each.hits]
                    for each in case.similar
                },
                answers=reports.get(place, ()),
                claims={row: [Claim(*claim) for claim in found] for row, found in claims.items()},
            ),
        )
