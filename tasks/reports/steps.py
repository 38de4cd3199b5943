"""Steps of the reports: choose the cases, ask, write in batches, read, audit, plot, show."""

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from prefect.blocks.system import Secret
from pydantic import TypeAdapter

from models.errors import InputError
from models.report_generation.generator import ReportGenerator, Row, Written
from models.report_generation.parsing import UnreadableReport
from models.report_generation.prompting import YES_NO
from models.report_generation.regions import describe_region
from models.report_generation.schema import Answer, Case, Label, NeighbourEvidence, Request
from tasks.execution import progress
from tasks.execution.caching import step
from tasks.execution.fingerprint import fingerprint
from tasks.execution.gpu import gpu_slot
from tasks.parameters.reports import ReportParameters
from tasks.records.base import ArrayRecord, DocumentRecord, FiguresRecord, ProgressReference, RunReference
from tasks.records.classification import EvaluationRecord
from tasks.records.data import DatasetRecord
from tasks.records.reports import (
    AnswersRecord,
    CasesRecord,
    GeneratorRecord,
    PagesRecord,
    ReportAuditRecord,
    RequestsRecord,
    WrittenRecord,
)
from tasks.reports import generators
from tasks.reports.cases import choose_cases, group_of
from tasks.reports.jobs import Job, missing_rows, write_rows
from tasks.reports.model_calls import model_calls, prompts
from tasks.reports.requests import plan_requests
from tasks.reports.summary import reports_summary
from tasks.storage.store import Store
from tasks.tracking import traces

CASES = TypeAdapter(tuple[Case, ...])
ROWS = TypeAdapter(tuple[Row, ...])
WRITTEN = TypeAdapter(tuple[Written, ...])
ANSWERS = TypeAdapter(tuple[Answer, ...])
_PICTURE_WIDTH = 224  # of the images in traces, in pixels
CONTROL_SEED = 0  # of the noise images and of the choice of other patients


def locate_generator(parameters: ReportParameters) -> GeneratorRecord:
    """Find out what is to write the reports, which is quick and therefore done first in every run.

    Raises:
        InputError: the weights cannot be had, or the device cannot run them.
    """
    return generators.locate(parameters, _token(parameters.token_block))


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
    if threshold is None:
        raise InputError(
            f"Reports tell two classes apart, but {dataset.name} has {len(dataset.labels)}; choose another."
        )
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
def plan_reports(
    dataset: DatasetRecord, cases: CasesRecord, generator: GeneratorRecord, controls: list[str], controlled_cases: int
) -> RequestsRecord:
    """Ask for every report: each case in each strategy, and some again under controls."""
    store = Store()
    arrays = store.get_arrays(dataset.splits)
    author = generators.make(generator, dataset, cases.classifier_sha256)
    plan = plan_requests(
        author,
        CASES.validate_python(store.get_json(cases.cases)),
        controls,  # type: ignore[arg-type]
        controlled_cases,
        arrays["test_images"],
        arrays["test_labels"],
        CONTROL_SEED,
    )
    rows = [Row(id=i, request=request) for i, request in zip(plan.row_ids, plan.requests, strict=True)]
    return RequestsRecord(
        requests=store.put_json(ROWS.dump_python(tuple(rows), mode="json")),
        images=store.put_arrays({"images": plan.images}),
        cases=len(cases.indices),
        rows=len(set(plan.row_ids)),
        generator=generator,
        settings={strategy: dict(author.settings(strategy)) for strategy in author.strategies},
        classifier_sha256=cases.classifier_sha256,
    )


@step
def write_reports(
    dataset: DatasetRecord, requests: RequestsRecord, first: int, last: int, shown: ProgressReference
) -> WrittenRecord:
    """Write the rows of some of the cases, those from `first` up to but without `last`, and not again what is kept."""
    store = Store()
    rows = _rows_of_cases(ROWS.validate_python(store.get_json(requests.requests)), first, last)
    images = store.get_arrays(requests.images)["images"]
    record = requests.generator
    author = generators.make(record, dataset, requests.classifier_sha256, _token(record.token_block))
    made_by = fingerprint(author.code)
    job = Job(
        store, {**author.identity, "generator": author.name, "code": made_by.code, "libraries": made_by.libraries}
    )
    done, missing = missing_rows(job, rows)
    started = time.perf_counter()
    progress.advance(shown, len(done))
    if missing:
        with gpu_slot() if record.name == "medgemma" else contextlib.nullcontext():
            for batch in write_rows(job, author, missing, images):
                done += batch
                progress.advance(shown, len(batch))
    if sorted(written.row_id for written in done) != sorted(row.id for row in rows):
        raise RuntimeError(f"{len(rows)} rows went in, and {len(done)} others came out")
    usages = [written.usage for written in done if written.usage]
    return WrittenRecord(
        rows=store.put_json(WRITTEN.dump_python(tuple(done), mode="json")),
        quarantined=tuple(job.quarantine(written.row_id) for written in done if written.error is not None),
        count=len(done),
        tokens=sum(usage.generated_tokens for usage in usages),
        seconds=sum(usage.seconds for usage in usages) if usages else time.perf_counter() - started,
        peak_gib=max((usage.peak_gib for usage in usages if usage.peak_gib is not None), default=None),
    )


@step
def read_reports(dataset: DatasetRecord, requests: RequestsRecord, batches: list[WrittenRecord]) -> AnswersRecord:
    """Read the report out of each text; one that cannot be read is kept as it is, with the reason."""
    store = Store()
    author = generators.make(requests.generator, dataset, requests.classifier_sha256)
    came = [written for batch in batches for written in WRITTEN.validate_python(store.get_json(batch.rows))]
    by_row = {written.row_id: written for written in came}
    asked = ROWS.validate_python(store.get_json(requests.requests))
    if not len(came) == len(by_row) == requests.rows or any(row.id not in by_row for row in asked):
        raise RuntimeError(f"{requests.rows} rows went in, and {len(came)} came out")
    answers = []
    for row in asked:
        written, request = by_row[row.id], row.request
        report, problem = None, written.error
        if written.error is None and written.score is None:
            try:
                report = author.read(request, written.text)
            except UnreadableReport as error:
                problem = str(error)
        answers.append(
            Answer(
                row_id=row.id,
                case_index=request.case.index,
                strategy=request.strategy,
                control=request.control,
                shown_probability=_told(author, request),
                prompt=author.prompt(request),
                text=written.text,
                report=report,
                problem=problem,
                score=written.score,
                usage=written.usage,
            )
        )
    return AnswersRecord(
        answers=store.put_json(ANSWERS.dump_python(tuple(answers), mode="json")),
        count=len(answers),
        failed=sum(written.error is not None for written in came),
    )


@step
def audit_written_reports(cases: CasesRecord, answers: AnswersRecord) -> ReportAuditRecord:
    """Compare the reports with schema, truth, classifier, lexicon and controls, and keep them as one table."""
    from tasks.reports.audit.audit import audit_reports  # statsmodels and scikit-learn take a second to import

    store = Store()
    evidence = {case.index: case for case in CASES.validate_python(store.get_json(cases.cases))}
    truths = _truths(cases)
    given = ANSWERS.validate_python(store.get_json(answers.answers))
    other: dict[Label, Label] = {"normal": "pneumonia", "pneumonia": "normal"}
    shown = {a.row_id: truths[a.case_index] for a in given if a.control == "same_label"}
    shown |= {a.row_id: other[truths[a.case_index]] for a in given if a.control == "other_label"}
    result = audit_reports(given, evidence, truths, shown)
    feedback: dict[str, dict[str, float | bool]] = {
        a.row_id: {"parsed": a.report is not None} for a in given if a.strategy != YES_NO
    }
    for entry in result.reports:
        feedback[entry.answer.row_id] |= {
            "label_correct": entry.label_right,
            "agrees_with_classifier": entry.agrees,
            "unsupported_claims": float(len(entry.claims)),
        }
    groups = dict(zip(cases.indices, cases.groups, strict=True))
    columns = [
        "case", "group", "truth", "classifier p", "strategy", "control", "told p", "label", "certainty", "impression",
        "P(yes)", "problem", "claims", "prompt tokens", "generated tokens", "finish", "seconds", "text", "row",
    ]  # fmt: skip
    claims = {entry.answer.row_id: len(entry.claims) for entry in result.reports}
    rows = [
        [
            a.case_index, groups[a.case_index], truths[a.case_index], evidence[a.case_index].probability,
            a.strategy, a.control, a.shown_probability,
            *([a.report.label, a.report.certainty, a.report.impression] if a.report else [None, None, None]),
            a.score, a.problem, claims.get(a.row_id),
            *([a.usage.prompt_tokens, a.usage.generated_tokens, a.usage.finish_reason, a.usage.seconds]
              if a.usage else [None] * 4),
            a.report.as_markdown() if a.report else a.text, a.row_id,
        ]
        for a in given
    ]  # fmt: skip
    return ReportAuditRecord(
        metrics=result.metrics,
        table=store.put_json({"columns": columns, "data": rows}),
        feedback=store.put_json(feedback),
        claims=store.put_json(
            {
                entry.answer.row_id: [[claim.kind, claim.words, claim.status] for claim in entry.claims]
                for entry in result.reports
                if entry.claims
            }
        ),
    )


@step
def plot_reports(
    dataset: DatasetRecord,
    explanation: ArrayRecord,
    cases: CasesRecord,
    generator: GeneratorRecord,
    answers: AnswersRecord,
    audit: ReportAuditRecord,
) -> FiguresRecord:
    """Draw the contact sheet and the figures of the audit."""
    from tasks.reports.audit.gallery import audit_gallery  # Matplotlib takes a second to import
    from tasks.reports.figures import contact_sheet

    store = Store()
    indices = list(cases.indices)
    evidence = CASES.validate_python(store.get_json(cases.cases))
    given = ANSWERS.validate_python(store.get_json(answers.answers))
    marks = {"phantoms": dataset.phantoms, "random_weights": generator.random_weights}
    sheet = contact_sheet(
        store.get_arrays(dataset.splits)["test_images"][indices],
        store.get_arrays(explanation.arrays)["maps"][indices].astype(np.float64),
        evidence,
        [{a.strategy: a for a in _plain_reports(given) if a.case_index == index} for index in indices],
        cases.truths,  # type: ignore[arg-type]
        **marks,
    )
    gallery = audit_gallery(
        given,
        {case.index: case for case in evidence},
        _truths(cases),
        audit.metrics,
        store.get_json(audit.claims),
        **marks,
    )
    figures = {"contact_sheet": sheet} | gallery
    return FiguresRecord(figures={name: store.put(picture, "image/png") for name, picture in figures.items()})


@step
def show_cases(
    dataset: DatasetRecord,
    explanation: ArrayRecord,
    cases: CasesRecord,
    generator: GeneratorRecord,
    answers: AnswersRecord,
    audit: ReportAuditRecord,
) -> PagesRecord:
    """Write a page a case, which shows all that is known of it side by side, and every report as FHIR."""
    from models.report_generation.fhir import diagnostic_report
    from tasks.reports.claims.matching import Claim
    from tasks.reports.pages import CaseView, case_page, index_page, page_name

    store = Store()
    arrays = store.get_arrays(dataset.splits)
    maps = store.get_arrays(explanation.arrays)["maps"]
    given = [a for a in ANSWERS.validate_python(store.get_json(answers.answers)) if a.control == "none"]
    found = {
        row_id: [Claim(kind=kind, words=words, status=status, sentence="") for kind, words, status in claims]
        for row_id, claims in store.get_json(audit.claims).items()
    }
    views = [
        CaseView(
            case=case,
            group=group,
            truth=truth,
            image=arrays["test_images"][case.index],
            heat=maps[case.index].astype(np.float64),
            neighbours=[(near, arrays[f"{near.split}_images"][near.index]) for near in case.neighbours],
            answers=[a for a in _plain_reports(given) if a.case_index == case.index],
            score=next((a.score for a in given if a.case_index == case.index and a.score is not None), None),
            claims=found,
        )
        for case, group, truth in zip(
            CASES.validate_python(store.get_json(cases.cases)), cases.groups, _truths(cases).values(), strict=True
        )
    ]
    source = {
        "generator": generator.name,
        "model": generator.model,
        "revision": generator.revision,
        "precision": generator.precision,
        "classifier": cases.classifier_sha256[:12],
        "dataset": f"{dataset.title} {dataset.digest}",
    }
    marks: dict[str, Any] = {"source": source, "phantoms": dataset.phantoms, "random_weights": generator.random_weights}
    pages = {f"cases/{page_name(view.case.index)}": case_page(view, **marks) for view in views}
    pages["cases/index.html"] = index_page(views, **marks)
    exported = [json.dumps(diagnostic_report(a.report)) for a in given if a.report]
    return PagesRecord(
        files={name: store.put(page.encode(), "text/html") for name, page in pages.items()}
        | {"fhir/DiagnosticReport.ndjson": store.put("\n".join(exported).encode(), "application/x-ndjson")}
    )


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
        CASES.validate_python(store.get_json(cases.cases)),
        cases.groups,
        cases.truths,  # type: ignore[arg-type]
        ANSWERS.validate_python(store.get_json(answers.answers)),
        audit.metrics,
        store.get_json(audit.claims),
        generator,
        phantoms=dataset.phantoms,
    )
    return DocumentRecord(document=store.put(text.encode(), "text/markdown"))


def speed(batches: Sequence[WrittenRecord]) -> dict[str, float]:
    """Say how fast the rows were written, however long ago."""
    tokens, seconds = sum(batch.tokens for batch in batches), sum(batch.seconds for batch in batches)
    peaks = [batch.peak_gib for batch in batches if batch.peak_gib is not None]
    return {
        "reports/seconds_per_report": seconds / sum(batch.count for batch in batches),
        **({"reports/tokens_per_second": tokens / seconds} if tokens else {}),
        **({"gpu/peak_memory_gib": max(peaks)} if peaks else {}),
    }


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
    rows = ROWS.validate_python(store.get_json(requests.requests))
    author = generators.make(requests.generator, dataset, requests.classifier_sha256)
    versions = traces.register_prompts("pneumonia/reports", prompts(author.prompts))
    given = ANSWERS.validate_python(store.get_json(answers.answers))
    logged = given if requests.generator.model else _plain_reports(given)
    told = {answer.row_id for answer in logged}
    picture = functools.cache(lambda image: encode_png(images[image], least_width=_PICTURE_WIDTH))  # rows share images
    calls = model_calls(
        logged,
        {row.id: picture(row.request.image) for row in rows if row.id in told and row.request.image is not None},
        store.get_json(audit.feedback),
        generator=requests.generator,
        settings=requests.settings,
        versions=versions,
        phantoms=dataset.phantoms,
    )
    traces.log_calls(run, calls)


def _plain_reports(answers: Iterable[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.control == "none" and answer.strategy != YES_NO]


def _truths(cases: CasesRecord) -> dict[int, Label]:
    return dict(zip(cases.indices, cases.truths, strict=True))  # type: ignore[arg-type]


def _told(author: ReportGenerator, request: Request) -> float | None:
    """Return the probability that the generator was told; None where its strategy tells none."""
    untold = request.model_copy(update={"case": request.case.model_copy(update={"probability": None})})
    return request.case.probability if author.prompt(request) != author.prompt(untold) else None


def _rows_of_cases(rows: tuple[Row, ...], first: int, last: int) -> list[Row]:
    """Pick the different rows whose first request is about one of some cases."""
    positions = {
        index: position for position, index in enumerate(dict.fromkeys(row.request.case.index for row in rows))
    }
    firsts: dict[str, Row] = {}
    for row in rows:
        firsts.setdefault(row.id, row)
    return [row for row in firsts.values() if first <= positions[row.request.case.index] < last]


def _token(block: str) -> str | None:
    """Take the hub's token from a Prefect Secret block, else from the environment."""
    try:
        secret: Any = Secret.load(block)
        return str(secret.get())
    except ValueError:  # there is no such block
        return os.environ.get("HF_TOKEN") or None
