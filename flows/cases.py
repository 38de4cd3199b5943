"""Cases: one's own pictures → read → screened → classified → compared → explained → reported → shown."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff

from flows.support import promotion
from flows.support.naming import run_name
from flows.support.products import Products, publish, stage_run
from flows.support.provenance import log_dataset, log_generator
from flows.support.runners import require_workers, task_runner
from flows.support.terminal import print_line, print_table
from models.errors import InputError
from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from models.text import printable
from tasks.cases import sources
from tasks.cases.algorithm import VERSION, Algorithm
from tasks.cases.case import Case, most_urgent_first
from tasks.cases.steps.explanation import add_reports, ask_reports, explain_pictures
from tasks.cases.steps.judging import judge_each, prepare_reference
from tasks.cases.steps.presentation import audit_reports_of_cases, plot_cases, show_index, show_pages
from tasks.cases.stored_cases import load_cases, store_cases
from tasks.cases.summary import cases_summary
from tasks.cases.table import as_table, case_metrics
from tasks.classification.steps.registration import read_package
from tasks.classification.steps.training import predict_classifier
from tasks.data.steps import locate_source, prepare_dataset, require_pneumonia
from tasks.execution import progress
from tasks.execution.faults import is_transient
from tasks.parameters.cases import CasesParameters
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.records.base import DocumentRecord, RunReference, StoredFile
from tasks.records.cases import (
    CasesResult,
    ExplainedRecord,
    JudgedRecord,
    PictureFile,
    PicturesRecord,
    ReferenceRecord,
    ShownRecord,
)
from tasks.records.classification import PredictionsRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import AnswersRecord, GeneratorRecord, ReportAuditRecord
from tasks.records.retrieval import SearchableRecord
from tasks.reports.steps.planning import locate_generator
from tasks.reports.steps.presentation import trace_answers
from tasks.reports.steps.writing import read_reports, write_reports
from tasks.retrieval.published.publication import find_published
from tasks.storage.disks import in_plain_words
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
    addresses = sources.find_files(cases.images)
    require_pneumonia(dataset)
    require_workers(execution)
    generator = locate_generator(reports)
    searchables = [find_published(name) for name in cases.encoders]
    data, reference, _ = reference_of(dataset, cases.classifier)
    files, problems = _identify(addresses)
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
        paged = [case for case in most_urgent_first(judged) if case.problem is None][: cases.pages]
        pictures = PicturesRecord(files=_files_of(paged, files))
        record = store_cases(Store(), paged)
        explained = explain_pictures(pictures, reference)
        written = _report(stage.run, record, explained, reference, data, generator, reports.batch_size)
        if written is not None:
            record = add_reports(record, written.answers)
            paged = load_cases(Store(), record)
        told = {case.digest: case for case in paged}
        everyone = most_urgent_first([*(told.get(case.digest, case) for case in judged), *problems])
        source = _source(data, reference, generator, searchables)
        marks = {"phantoms": data.phantoms, "random_weights": generator.random_weights}
        shown = ShownRecord(
            files=pictures, judged=record, explained=explained, reference=reference, searchables=tuple(searchables)
        )
        answers, audit = (written.answers, written.audit) if written else (None, None)
        parts = [
            show_pages(shown, first, min(first + _PAGES_PER_TASK, len(paged)), answers, audit, source, **marks)
            for first in range(0, len(paged), _PAGES_PER_TASK)
        ]
        links = {"MLflow": runs.page_of(stage.run)}
        index = show_index(store_cases(Store(), everyone), shown, source, links, **marks)
        files_of_run = {path: file for part in [*parts, index] for path, file in part.files.items()}
        figures = plot_cases(shown, data, min(len(paged), _GALLERY)).figures if paged else {}
        metrics = case_metrics(everyone, data.labels) | (written.audit.metrics if written else {})
        text = cases_summary(everyone, data.labels, phantoms=data.phantoms)
        products = Products(
            data,
            DocumentRecord(document=Store().put(text.encode(), "text/markdown")),
            metrics,
            figures,
            files=files_of_run,
            tables={"cases.json": as_table(everyone)},
            shown=tuple(figures),
            pages={"all cases, each with its page": "index.html"},
        )
        publish(stage, products)
        folder = _write(files_of_run)
        if cases.dicom != "none":
            _write_dicom(shown, folder, data, others_too=cases.dicom == "all")
    _print(everyone, folder, data)
    return CasesResult(flow_run_id=str(flow_run.id), run=stage.run, cases=files_of_run["cases.json"], metrics=metrics)


class _Written(NamedTuple):
    answers: AnswersRecord
    audit: ReportAuditRecord


def _identify(addresses: Sequence[str]) -> tuple[list[PictureFile], list[Case]]:
    """Take the digest of each file; a picture that is there twice counts once, one that cannot be opened is a case."""
    files: dict[str, PictureFile] = {}
    problems = []
    for address in addresses:
        try:
            file = sources.identify(address)
        except InputError as error:
            digest = hashlib.sha256(address.encode()).hexdigest()
            problems.append(Case(digest=digest, name=sources.file_name(address), problem=str(error)))
        else:
            files.setdefault(file.sha256, file)
    if (copies := len(addresses) - len(files) - len(problems)) > 0:
        get_run_logger().info("%d of %d files hold the same picture as others", copies, len(addresses))
    return list(files.values()), problems


def _files_of(cases: Sequence[Case], files: Sequence[PictureFile]) -> tuple[PictureFile, ...]:
    by_digest = {file.sha256: file for file in files}
    return tuple(by_digest[case.digest] for case in cases)


def _report(
    run: RunReference,
    record: JudgedRecord,
    explained: ExplainedRecord,
    reference: ReferenceRecord,
    data: DatasetRecord,
    generator: GeneratorRecord,
    batch_size: int,
) -> _Written | None:
    """Have reports written on the cases that have evidence; None where there is none."""
    about = data.model_copy(update={"name": f"own pictures, judged by a classifier of {data.name},"})
    requests = ask_reports(record, explained, reference, about, generator)
    if not requests.rows:
        return None
    patient = write_reports.with_options(
        retries=3, retry_delay_seconds=exponential_backoff(10), retry_jitter_factor=0.5, retry_condition_fn=is_transient
    )
    with progress.shown("reports", requests.rows) as shown:
        firsts = range(0, requests.cases, batch_size)
        batches = [patient(about, requests, first, first + batch_size, shown) for first in firsts]
    answers = read_reports(about, requests, batches)
    audit = audit_reports_of_cases(record, answers)
    trace_answers(run, about, requests, answers, audit)
    return _Written(answers, audit)


def _source(
    data: DatasetRecord, reference: ReferenceRecord, generator: GeneratorRecord, searchables: Sequence[SearchableRecord]
) -> dict[str, str]:
    """Say where everything comes from."""
    return {
        "classifier": f"{reference.version}, {reference.classifier.architecture}, "
        f"SHA-256 {reference.classifier.weights.sha256[:12]}",
        "trained and calibrated on": f"{data.title} {data.digest}",
        **{f"similar cases, {each.encoder.name}": f"index over {each.dataset.title}" for each in searchables},
        "reports": " ".join(filter(None, [generator.name, generator.model, generator.revision, generator.precision])),
    }


def _write(files: Mapping[str, StoredFile]) -> Path:
    """Put the products where a person finds them."""
    store, folder = Store(), outputs() / "cases" / str(flow_run.id)
    for path, stored in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(store.get(stored))
    return folder


def _write_dicom(shown: ShownRecord, folder: Path, data: DatasetRecord, *, others_too: bool) -> None:
    """Put the DICOM results beside the other products, and nowhere else: they name the patient."""
    from tasks.cases.dicom.results import dicom_results
    from tasks.cases.views import case_views

    made = datetime.now().astimezone()
    first, second = data.labels
    algorithm = Algorithm(
        version=VERSION,
        classifier_sha256=shown.reference.classifier.weights.sha256,
        classes=(first, second),
        phantoms=data.phantoms,
    )
    views = case_views(Store(), shown, range(shown.judged.count))
    for file, view in zip(shown.files.files, views, strict=True):
        try:
            for name, content in dicom_results(file, view, algorithm, made=made, others_too=others_too):
                (folder / "dicom").mkdir(exist_ok=True)
                (folder / "dicom" / name).write_bytes(content)
        except InputError as error:
            get_run_logger().warning("No DICOM result: %s", error)


def _print(cases: Sequence[Case], folder: Path, data: DatasetRecord) -> None:
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
    print_line(f"Pages, table, FHIR and DICOM: {folder / 'index.html'}")
    print_line(RESEARCH_NOTICE)


def reference_of(dataset: DatasetParameters, wanted: str) -> tuple[DatasetRecord, ReferenceRecord, PredictionsRecord]:
    """Take a registered classifier with what it says of the images whose class is known.

    Args:
        dataset: the images.
        wanted: `champion`, or the id of the MLflow run that registered it.

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
    predictions = predict_classifier(data, classifier)
    reference = prepare_reference(data, classifier, predictions)
    named = reference.model_copy(update={"version": f"{version.name} v{version.version}"})
    return data, named, predictions


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(cases))
