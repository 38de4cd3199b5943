"""Steps that show the reports: figures, pages of the cases, the stage's report, and traces of what was written."""

import functools
from pathlib import PurePath

import numpy as np

from models.report_generation.prompting import plain_reports
from models.report_generation.schema import CHEST_CLASSES
from tasks.execution.caching import step
from tasks.records.base import DocumentRecord, FiguresRecord, RunReference
from tasks.records.data import DatasetRecord
from tasks.records.reports import (
    AnswersRecord,
    CasesRecord,
    GeneratorRecord,
    PagesRecord,
    ReportAuditRecord,
    RequestsRecord,
)
from tasks.reports import generators
from tasks.reports.model_calls import model_calls, prompts
from tasks.reports.stored_lists import ANSWERS, CASES, ROWS
from tasks.reports.summary import reports_summary
from tasks.storage.store import Store
from tasks.tracking import runs, traces

_PICTURE_WIDTH = 224  # of the images in traces, in pixels


@step
def plot_reports(
    dataset: DatasetRecord,
    cases: CasesRecord,
    generator: GeneratorRecord,
    answers: AnswersRecord,
    audit: ReportAuditRecord,
) -> FiguresRecord:
    """Draw the contact sheet and the figures of the audit."""
    from tasks.reports.audit.gallery import audit_gallery  # Matplotlib takes a second to import
    from tasks.reports.figures import contact_sheet
    from tasks.shared.figures import Source

    store, indices = Store(), list(cases.indices)
    evidence, given = CASES.load(store, cases.cases), ANSWERS.load(store, answers.answers)
    images = store.get_arrays(dataset.splits)["test_images"][indices]
    heat_maps = store.get_arrays(cases.heat_maps)["maps"].astype(np.float64)
    reports = [{a.strategy: a for a in plain_reports(given) if a.case_index == index} for index in indices]
    model = f"classifier {cases.classifier}, generator {PurePath(generator.model or generator.name).name}"
    source = Source.of(dataset, model, random_weights=generator.random_weights)
    sheet = contact_sheet(images, heat_maps, evidence, reports, cases.truths, source=source)
    by_index = {case.index: case for case in evidence}
    claims = store.get_json(audit.claims)
    gallery = audit_gallery(given, by_index, cases.truth_by_index, audit.metrics, claims, source=source)
    figures = {"contact_sheet": sheet} | gallery
    return FiguresRecord(figures={name: store.put(picture, "image/png") for name, picture in figures.items()})


@step
def show_cases(
    dataset: DatasetRecord,
    cases: CasesRecord,
    generator: GeneratorRecord,
    answers: AnswersRecord,
    audit: ReportAuditRecord,
) -> PagesRecord:
    """Write one page per case with all that is known of it side by side, and each report on a chest X-ray as FHIR."""
    from models.report_generation.fhir import diagnostic_reports
    from tasks.reports.pages import case_pages, case_views

    store = Store()
    evidence, given = CASES.load(store, cases.cases), ANSWERS.load(store, answers.answers)
    splits, heat_maps = store.get_arrays(dataset.splits), store.get_arrays(cases.heat_maps)["maps"]
    views = case_views(evidence, cases.groups, cases.truths, splits, heat_maps, given, store.get_json(audit.claims))
    source = {
        "generator": generator.name,
        **generator.model_dump(include={"model", "revision", "precision", "server", "server_version"}),
        "classifier": cases.classifier_sha256[:12],
        "dataset": f"{dataset.title} {dataset.digest}",
    }
    pages = case_pages(views, source=source, phantoms=dataset.phantoms, random_weights=generator.random_weights)
    files = {f"cases/{name}": store.put(page.encode(), "text/html") for name, page in pages.items()}
    if dataset.labels == CHEST_CLASSES:  # the codes are those of chest X-rays
        exported = diagnostic_reports(a.report for a in given if a.control == "none" and a.report)
        files["fhir/DiagnosticReport.ndjson"] = store.put(exported.encode(), "application/x-ndjson")
    return PagesRecord(files=files)


@step
def document_reports(
    dataset: DatasetRecord,
    cases: CasesRecord,
    generator: GeneratorRecord,
    answers: AnswersRecord,
    audit: ReportAuditRecord,
) -> DocumentRecord:
    """Write the stage's report."""
    store = Store()
    text = reports_summary(
        CASES.load(store, cases.cases),
        cases.groups,
        cases.truths,
        ANSWERS.load(store, answers.answers),
        audit.metrics,
        store.get_json(audit.claims),
        generator,
        phantoms=dataset.phantoms,
        signatures=audit.signatures,
    )
    return DocumentRecord(document=store.put(text.encode(), "text/markdown"))


def log_attention(run: RunReference, answers: AnswersRecord) -> None:
    """Say in a tag how attention was computed, which is found out by whoever loads the model."""
    usages = [answer.usage for answer in ANSWERS.load(Store(), answers.answers) if answer.usage]
    if found := sorted({usage.attention for usage in usages if usage.attention}):
        runs.log_tags(run, {"generator.attention": ", ".join(found)})


def trace_answers(
    run: RunReference,
    dataset: DatasetRecord,
    requests: RequestsRecord,
    answers: AnswersRecord,
    audit: ReportAuditRecord,
) -> None:
    """Log every row as a trace with its image, prompt, tokens and feedback, and register the prompts.

    Of a generator that is no language model the plain rows are enough: nothing was generated under controls.
    """
    from tasks.shared.png import encode_png

    store = Store()
    images = store.get_arrays(requests.images)["images"]
    generator = generators.make(requests.generator, dataset, requests.classifier_sha256)
    versions = traces.register_prompts("pneumonia/reports", prompts(generator.prompts))
    given = ANSWERS.load(store, answers.answers)
    logged = given if requests.generator.model else plain_reports(given)
    told = {answer.row_id for answer in logged}
    picture = functools.cache(lambda image: encode_png(images[image], least_width=_PICTURE_WIDTH))  # rows share images
    shown = {row.id: row.request.image for row in ROWS.load(store, requests.requests) if row.id in told}
    calls = model_calls(
        logged,
        {row_id: picture(image) for row_id, image in shown.items() if image is not None},
        store.get_json(audit.feedback),
        generator=requests.generator,
        settings=requests.settings,
        versions=versions,
        phantoms=dataset.phantoms,
    )
    traces.log_calls(run, calls)
