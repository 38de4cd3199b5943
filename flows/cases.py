"""Cases: one's own pictures → read → screened → classified → compared → explained → reported → shown.

Results for other systems (DICOM, FHIR) are about chest X-rays, and left out of other images.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff

from flows.support import promotion
from flows.support.naming import run_name
from flows.support.predictions import corruptible, predicted
from flows.support.preflight import require_template
from flows.support.products import Products, publish, stage_run
from flows.support.provenance import log_dataset, log_generator
from flows.support.runners import require_workers, task_runner
from flows.support.terminal import print_line, print_table
from models.errors import InputError
from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from models.report_generation.schema import CHEST_CLASSES
from models.text import printable
from tasks.cases import sources
from tasks.cases.case import Case, most_urgent_first
from tasks.cases.steps.explanation import add_reports, ask_reports, explain_pictures
from tasks.cases.steps.export import export_cases
from tasks.cases.steps.judging import judge_each, prepare_reference
from tasks.cases.steps.presentation import audit_reports_of_cases, plot_cases, show_index, show_pages
from tasks.cases.stored_cases import load_cases, store_cases
from tasks.cases.summary import cases_summary
from tasks.cases.table import as_table, case_metrics
from tasks.classification.steps.registration import read_package
from tasks.classification.steps.robustness import predict_corrupted
from tasks.data.steps import locate_source, prepare_dataset, require_one_label, why_template_only
from tasks.execution import progress
from tasks.execution.faults import is_transient
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.cases import CasesParameters
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.records.base import DocumentRecord, RunReference, StoredFile
from tasks.records.cases import (
    CasesResult,
    PictureFile,
    PicturesRecord,
    ReferenceRecord,
    ShownRecord,
)
from tasks.records.classification import PredictionsRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import AnswersRecord, GeneratorRecord, ReportAuditRecord
from tasks.records.retrieval import SearchableRecord
from tasks.reports.requests import share_out
from tasks.reports.steps.planning import locate_generator
from tasks.reports.steps.presentation import trace_answers
from tasks.reports.steps.writing import read_reports, write_reports
from tasks.retrieval.published.publication import find_published
from tasks.storage.locations import outputs
from tasks.storage.store import Store
from tasks.tracking import registry, runs

_CASES, _DATASET = CasesParameters(), DatasetParameters()
_REPORTS, _EXECUTION = ReportParameters(), ExecutionParameters()
_GALLERY = 8  # cases in the picture on the run's page
_PAGES_PER_TASK = 8
_PRINTED = 20


@flow(name="cases", flow_run_name=run_name)
@in_plain_words
def cases(
    cases: CasesParameters = _CASES,
    reports: ReportParameters = _REPORTS,
    dataset: DatasetParameters = _DATASET,
    execution: ExecutionParameters = _EXECUTION,
) -> CasesResult:
    """Say of one's own pictures all that is known: foreign or not, class, heat map, similar cases and report."""
    addresses = sources.find_pictures(cases)
    require_one_label(dataset.name, "look at one's own pictures")
    require_template(dataset, reports)
    require_workers(execution)
    if reports.references is not None:
        raise InputError(
            "--reports.references compares reports on test images: leave it out here, or run the reports flow."
        )
    generator = locate_generator(reports)
    searchables = [find_published(name, dataset.name) for name in cases.encoders]
    data, reference, _ = reference_of(dataset, cases.classifier, cases.corrupted_images)
    files, problems = _identify(addresses, cases.login_block)
    # Folders may name a patient: the tracker is told only how many files there are.
    form = cases.model_copy(update={"images": [f"{len(addresses)} named"]})
    with stage_run("cases", {"cases": form, "reports": reports}) as stage:
        stage.page.pictures_first = True
        log_dataset(stage.run, data, "reference")
        log_generator(stage.run, generator)
        with task_runner(execution) as runner:
            judged = judge_each(
                files, reference, searchables, cases.neighbours,
                batch_size=cases.batch_size, at_once=execution.workers, runner=runner,
            )  # fmt: skip
        urgent = [case for case in most_urgent_first(judged) if case.problem is None]
        shown = _explain(urgent[: cases.pages], files, reference, searchables)
        reported = _report(stage.run, shown, data, generator, reports.batch_size)
        told = {case.digest: case for case in load_cases(Store(), reported.shown.judged)}
        everyone = most_urgent_first([*(told.get(case.digest, case) for case in judged), *problems])
        folder = outputs() / "cases" / str(flow_run.id)
        products = _products(everyone, reported, data, generator, {"MLflow": runs.page_of(stage.run)})
        if template_only := why_template_only(data.name):
            get_run_logger().info(template_only)
        else:
            exported = export_cases(reported.shown, reported.answers, data, cases, folder)
            products = replace(products, files={**products.files, **exported})
        publish(stage, products)
        _write(products.files, folder)
    _print(everyone, folder, data, template_only)
    return CasesResult(
        flow_run_id=str(flow_run.id),
        run=stage.run,
        cases=store_cases(Store(), everyone).cases,
        metrics=dict(products.metrics),
    )


class _Reported(NamedTuple):
    """Cases with their reports, where any were written."""

    shown: ShownRecord
    answers: AnswersRecord | None = None
    audit: ReportAuditRecord | None = None


def _identify(addresses: Sequence[str], login_block: str) -> tuple[list[PictureFile], list[Case]]:
    """Take the digest of each file; a picture that is there twice counts once, one that cannot be opened is a case."""
    files: dict[str, PictureFile] = {}
    problems = []
    for address in addresses:
        try:
            file = sources.identify(address, login_block)
        except InputError as error:
            digest = hashlib.sha256(address.encode()).hexdigest()
            problems.append(Case(digest=digest, name=sources.file_name(address), problem=str(error)))
        else:
            files.setdefault(file.sha256, file)
    if (copies := len(addresses) - len(files) - len(problems)) > 0:
        get_run_logger().info("%d of %d files hold the same picture as others", copies, len(addresses))
    return list(files.values()), problems


def _explain(
    cases: Sequence[Case],
    files: Sequence[PictureFile],
    reference: ReferenceRecord,
    searchables: Sequence[SearchableRecord],
) -> ShownRecord:
    """Gather the cases that get a page, with their heat maps."""
    by_digest = {file.sha256: file for file in files}
    pictures = PicturesRecord(files=tuple(by_digest[case.digest] for case in cases))
    return ShownRecord(
        files=pictures,
        judged=store_cases(Store(), cases),
        explained=explain_pictures(pictures, reference),
        reference=reference,
        searchables=tuple(searchables),
    )


def _report(
    run: RunReference, shown: ShownRecord, data: DatasetRecord, generator: GeneratorRecord, most_rows: int
) -> _Reported:
    """Have reports written on the cases that have evidence, and audit them."""
    about = data.model_copy(update={"name": f"own pictures, judged by a classifier of {data.name},"})
    requests = ask_reports(shown, about, generator)
    if not requests.rows:
        return _Reported(shown)
    patient = write_reports.with_options(
        retries=3, retry_delay_seconds=exponential_backoff(10), retry_jitter_factor=0.5, retry_condition_fn=is_transient
    )
    with progress.shown("reports", requests.rows) as bar:
        shares = share_out(requests.rows_per_case, most_rows)
        batches = [patient(about, requests, first, last, bar) for first, last in shares]
    answers = read_reports(about, requests, batches)
    audit = audit_reports_of_cases(shown.judged, answers, data.labels == CHEST_CLASSES)
    trace_answers(run, about, requests, answers, audit)
    return _Reported(shown.model_copy(update={"judged": add_reports(shown.judged, answers)}), answers, audit)


def _products(
    everyone: Sequence[Case],
    reported: _Reported,
    data: DatasetRecord,
    generator: GeneratorRecord,
    links: dict[str, str],
) -> Products:
    """Write the pages, the tables and the report of the run."""
    shown, answers, audit = reported
    store, source = Store(), _source(data, generator, shown)
    marks = {"phantoms": data.phantoms, "random_weights": generator.random_weights}
    parts = [show_index(store_cases(store, everyone), shown, source, links, **marks)]
    for first in range(0, shown.judged.count, _PAGES_PER_TASK):
        last = min(first + _PAGES_PER_TASK, shown.judged.count)
        parts.append(show_pages(shown, first, last, answers, audit, source, **marks))
    figures = plot_cases(shown, data, min(shown.judged.count, _GALLERY)).figures if shown.judged.count else {}
    template_only = why_template_only(data.name)
    document = cases_summary(everyone, phantoms=data.phantoms, dataset=data.name, template_only=template_only).encode()
    return Products(
        data,
        DocumentRecord(document=store.put(document, "text/markdown")),
        metrics=case_metrics(everyone, data.labels) | (audit.metrics if audit else {}),
        figures=figures,
        files={path: file for part in parts for path, file in part.files.items()},
        tables={"table.json": as_table(everyone)},
        shown=tuple(figures),
        pages={"all cases, each with its page": "index.html"},
    )


def _source(data: DatasetRecord, generator: GeneratorRecord, shown: ShownRecord) -> dict[str, str]:
    """Say where everything comes from."""
    reference, weights = shown.reference, shown.reference.classifier.weights
    facts = generator.name, generator.model, generator.revision, generator.precision, generator.server
    return {
        "classifier": f"{reference.version}, {reference.classifier.title}, SHA-256 {weights.sha256[:12]}",
        "trained and calibrated on": f"{data.title} {data.digest}",
        **{f"similar cases, {each.encoder.name}": f"index over {each.dataset.title}" for each in shown.searchables},
        "reports": " ".join(filter(None, facts)),
    }


def _write(files: Mapping[str, StoredFile], folder: Path) -> None:
    """Put the products where a person finds them."""
    store = Store()
    for path, stored in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(store.get(stored))


def _print(cases: Sequence[Case], folder: Path, data: DatasetRecord, template_only: str | None) -> None:
    first = cases[:_PRINTED]
    print_table(
        [(name, "left") for name in ("picture", "look at first", "probability", "class", "similar cases")],
        [
            (
                case.name,
                "" if case.concern == "none" else case.concern,
                f"{case.classification.probability:.3f}" if case.classification else "",
                case.classification.label if case.classification and case.counts else "",
                ", ".join(f"{each.encoder}: {each.majority or 'divided'}" for each in case.similar),
            )
            for case in first
        ],
        title=f"{len(first)} of {len(cases)} pictures, the most urgent first"
        if len(cases) > len(first)
        else "pictures",
    )
    for case in first:
        if case.why_not_counted:
            print_line(f"{case.name}: {case.why_not_counted}")
    if data.phantoms:
        print_line(PHANTOM_NOTICE, style="bold red")
    print_line(f"Pages, table{'' if template_only else ', FHIR and DICOM'}: {folder / 'index.html'}")
    if template_only:
        print_line(template_only)
    print_line(RESEARCH_NOTICE)


def reference_of(
    dataset: DatasetParameters, wanted: str, corrupted_images: int
) -> tuple[DatasetRecord, ReferenceRecord, PredictionsRecord]:
    """Take a registered classifier with what it says of the images whose class is known.

    Args:
        dataset: the images.
        wanted: `champion`, or the id of the MLflow run that registered it.
        corrupted_images: validation images whose corrupted copies conformal sets are calibrated on; 0 for the
            images as they are.

    Returns:
        The images, what pictures are judged by, and the classifier's outputs.

    Raises:
        InputError: there is no such classifier or dataset, or they do not belong to each other.
    """
    version, package = promotion.choose(registry.registered_name(dataset.name), wanted)
    data = prepare_dataset(locate_source(dataset), dataset.limit)
    classifier = read_package(package, data, version.run_id)
    if classifier.dataset_sha256 != data.sha256:
        raise InputError(
            f"Version {version.version} of {version.name} was trained on another file than {printable(data.source)}: "
            "name that file with --dataset.path, or another classifier with --cases.classifier."
        )
    predictions = predicted(data, classifier)
    corrupted = None
    if corruptible(data, classifier, corrupted_images, "calibration of the sets on corrupted images"):
        corrupted = predict_corrupted(data, classifier, "val", corrupted_images)
    reference = prepare_reference(data, classifier, predictions, corrupted)
    named = reference.model_copy(update={"version": f"{version.name} v{version.version}"})
    return data, named, predictions


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(cases))
