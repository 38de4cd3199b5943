"""Steps of the reports: choose the cases, write reports in batches, audit, plot, document."""

import hashlib
import time

import numpy as np
from pydantic import TypeAdapter

from models.report_generation.regions import describe_region
from models.report_generation.schema import Case, NeighbourEvidence, Report, ReportGenerator
from models.report_generation.template import TemplateGenerator
from tasks.caching import step
from tasks.records import (
    ArrayRecord,
    CasesRecord,
    DatasetRecord,
    DocumentRecord,
    EvaluationRecord,
    FiguresRecord,
    ReportAuditRecord,
    ReportsRecord,
)
from tasks.reports.audit import ReportAudit, audit_reports
from tasks.reports.cases import choose_cases, group_of
from tasks.reports.summary import reports_summary
from tasks.store import Store

CASES = TypeAdapter(tuple[Case, ...])


@step
def choose_report_cases(
    dataset: DatasetRecord,
    evaluation: EvaluationRecord,
    explanation: ArrayRecord,
    neighbours: ArrayRecord,
    count: int,
    neighbour_count: int,
) -> CasesRecord:
    """Choose test cases and gather what the classifier knows of each: probability, heat region, similar cases."""
    store = Store()
    arrays, found = store.get_arrays(dataset.splits), store.get_arrays(neighbours.arrays)
    probabilities = store.get_arrays(evaluation.predictions)["probabilities"]
    maps = store.get_arrays(explanation.arrays)["maps"]
    labels, threshold = arrays["test_labels"], evaluation.threshold
    chosen = choose_cases(probabilities, labels, threshold, count)
    cases = []
    for index in chosen:
        region = describe_region(maps[index])
        ids = found["train_ids"][index, :neighbour_count]
        similarities = found["train_similarities"][index, :neighbour_count]
        evidence = tuple(
            NeighbourEvidence(
                index=int(neighbour),
                label=dataset.labels[arrays["train_labels"][neighbour]],
                similarity=float(similarity),
                split="train",
            )
            for neighbour, similarity in zip(ids, similarities, strict=True)
        )
        cases.append(
            Case(
                index=index,
                image_sha256=hashlib.sha256(arrays["test_images"][index].tobytes()).hexdigest(),
                probability=float(probabilities[index]),
                threshold=threshold,
                heat_region=region.words,
                heat_share=region.share,
                neighbours=evidence,
            )
        )
    return CasesRecord(
        cases=store.put_json(CASES.dump_python(tuple(cases), mode="json")),
        indices=tuple(chosen),
        groups=tuple(group_of(float(probabilities[i]), int(labels[i]), threshold) for i in chosen),
        truths=tuple(dataset.labels[labels[i]] for i in chosen),
        classifier_sha256=evaluation.classifier_sha256,
    )


@step
def write_reports(dataset: DatasetRecord, cases: CasesRecord, generator: str, first: int, last: int) -> ReportsRecord:
    """Write the reports of one batch of cases, those from `first` up to but without `last`."""
    store = Store()
    batch = CASES.validate_python(store.get_json(cases.cases))[first:last]
    images = store.get_arrays(dataset.splits)["test_images"][[case.index for case in batch]]
    started = time.perf_counter()
    written = _generator(generator, dataset, cases).generate(batch, images)
    seconds = time.perf_counter() - started
    return ReportsRecord(
        generator=generator,
        reports=store.put_json([report.model_dump(mode="json") for report in written]),
        count=len(written),
        seconds=seconds,
    )


@step
def audit_written_reports(cases: CasesRecord, batches: list[ReportsRecord]) -> ReportAuditRecord:
    """Compare the reports with schema, truth, classifier and lexicon, and keep them as one table."""
    store = Store()
    result = _audit(store, cases, batches)
    evidence = CASES.validate_python(store.get_json(cases.cases))
    columns = ("case", "group", "truth", "probability", "label", "right", "certainty", "impression", "text")
    rows = [
        [case.index, group, truth, round(case.probability, 4), *_cells(entry.report, entry.label_right)]
        for case, group, truth, entry in zip(evidence, cases.groups, cases.truths, result.reports, strict=True)
    ]
    return ReportAuditRecord(metrics=result.metrics, table=store.put_json({"columns": list(columns), "data": rows}))


@step
def plot_reports(
    dataset: DatasetRecord, explanation: ArrayRecord, cases: CasesRecord, batches: list[ReportsRecord]
) -> FiguresRecord:
    """Draw the contact sheet."""
    from tasks.reports.figures import contact_sheet  # Matplotlib takes a second to import

    store = Store()
    indices = list(cases.indices)
    sheet = contact_sheet(
        store.get_arrays(dataset.splits)["test_images"][indices],
        store.get_arrays(explanation.arrays)["maps"][indices].astype(np.float64),
        CASES.validate_python(store.get_json(cases.cases)),
        [entry.report for entry in _audit(store, cases, batches).reports],
        cases.truths,  # type: ignore[arg-type]
        phantoms=dataset.phantoms,
    )
    return FiguresRecord(figures={"contact_sheet": store.put(sheet, "image/png")})


@step
def document_reports(
    dataset: DatasetRecord, cases: CasesRecord, batches: list[ReportsRecord], generator: str
) -> DocumentRecord:
    """Write the stage's report."""
    store = Store()
    text = reports_summary(
        CASES.validate_python(store.get_json(cases.cases)),
        cases.groups,
        cases.truths,  # type: ignore[arg-type]
        _audit(store, cases, batches),
        generator=generator,
        phantoms=dataset.phantoms,
    )
    return DocumentRecord(document=store.put(text.encode(), "text/markdown"))


def _generator(name: str, dataset: DatasetRecord, cases: CasesRecord) -> ReportGenerator:
    generators: dict[str, ReportGenerator] = {
        "template": TemplateGenerator(f"{dataset.name} {dataset.md5}", cases.classifier_sha256, dataset.phantoms)
    }
    return generators[name]


def _audit(store: Store, cases: CasesRecord, batches: list[ReportsRecord]) -> ReportAudit:
    answers = [answer for batch in batches for answer in store.get_json(batch.reports)]
    evidence = CASES.validate_python(store.get_json(cases.cases))
    return audit_reports(answers, evidence, cases.truths)  # type: ignore[arg-type]


def _cells(report: Report | None, right: bool) -> list[object]:
    if report is None:
        return [None, False, None, "does not fit the schema", ""]
    return [report.label, right, report.certainty, report.impression, report.as_markdown()]
