"""Reports: choose cases → classifier evidence → report batches → audit → compare."""

from pathlib import PurePath

from prefect import flow
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff

from flows.classification import classification
from flows.retrieval import judged, retrieve
from flows.support.naming import run_name
from flows.support.preflight import preflight_with_reports
from flows.support.products import Products, publish, stage_run
from flows.support.provenance import log_dataset, log_generator
from flows.support.runners import task_runner
from tasks.classification.steps.explanation import explain_cases
from tasks.execution import progress
from tasks.execution.faults import is_transient
from tasks.execution.mapping import map_step, steps_at_once
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.classification import ClassificationResult
from tasks.records.reports import GeneratorRecord, ReferencesRecord, ReportsResult
from tasks.records.retrieval import RetrievalResult
from tasks.reports.requests import share_out
from tasks.reports.steps.audit import audit_written_reports
from tasks.reports.steps.planning import choose_report_cases, gather_report_evidence, plan_reports
from tasks.reports.steps.presentation import document_reports, log_attention, plot_reports, show_cases, trace_answers
from tasks.reports.steps.writing import read_reports, throughput_metrics, write_reports
from tasks.storage.store import Store

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_RETRIEVAL, _REPORTS, _EXECUTION = RetrievalParameters(), ReportParameters(), ExecutionParameters()


@flow(name="reports", flow_run_name=run_name)
@in_plain_words
def reports(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
    retrieval: RetrievalParameters = _RETRIEVAL,
    reports: ReportParameters = _REPORTS,
    execution: ExecutionParameters = _EXECUTION,
) -> ReportsResult:
    """Write reports for chosen test cases from the classifier's evidence, and audit them."""
    located, generator, references = preflight_with_reports(dataset, retrieval, reports, execution)
    classified = classification(dataset, training, evaluation)
    retrieved = retrieve(judged(classified), located, retrieval, execution)
    writing = report.with_options(task_runner=task_runner(execution))
    return writing(classified, retrieved, generator, reports, references)


_SHOWN = ("contact_sheet", "label_scores", "claims", "controls")


@flow(name="reports-from-evidence", flow_run_name=run_name)
@in_plain_words
def report(
    classified: ClassificationResult,
    retrieved: RetrievalResult,
    generator: GeneratorRecord,
    reports: ReportParameters,
    references: ReferencesRecord | None = None,
) -> ReportsResult:
    """Write and audit reports, once there are a classifier and neighbours."""
    data, evaluation, explanation = classified.dataset, classified.evaluation, classified.explanation
    assert explanation is not None  # the images have one label each
    with stage_run("reports", {"reports": reports}) as stage:
        run = stage.run
        log_dataset(run, data, "evaluation")
        chosen = choose_report_cases(data, evaluation, reports.cases)
        maps = explain_cases(data, classified.classifier, explanation, chosen.indices, chosen.explained)
        cases = gather_report_evidence(data, evaluation, chosen, maps, retrieved.neighbours, reports.neighbours)
        requests = plan_reports(data, cases, generator, list(reports.controls), reports.controlled_cases)
        log_generator(run, generator)
        patient = write_reports.with_options(
            retries=3,
            retry_delay_seconds=exponential_backoff(10),
            retry_jitter_factor=0.5,
            retry_condition_fn=is_transient,
        )
        with progress.shown("reports", requests.rows) as shown:
            same = {"dataset": data, "requests": requests, "shown": shown}
            shares = share_out(requests.rows_per_case, reports.batch_size)
            parts = [{**same, "first": first, "last": last} for first, last in shares]
            batches = map_step(patient, parts)
        answers = read_reports(data, requests, batches)
        log_attention(run, answers)
        audit = audit_written_reports(cases, answers, references)
        with steps_at_once() as start:
            drawn = start(plot_reports, data, cases, generator, answers, audit)
            shown_cases = start(show_cases, data, cases, generator, answers, audit)
            documented = start(document_reports, data, cases, generator, answers, audit)
            figures, pages, document = drawn.result().figures, shown_cases.result(), documented.result()

        table = Store().get_json(audit.table)
        tables = {"reports.json": (table["columns"], table["data"])}
        metrics = audit.metrics | throughput_metrics(batches)
        cases_page = {"every case with its evidence and reports": "cases/index.html"}
        author = PurePath(generator.model or generator.name).name
        ran = f"Reports on {len(cases.indices)} cases by {author}, {requests.rows} answers in all,"
        products = Products(
            data, document, ran, metrics, figures, files=pages.files, tables=tables, shown=_SHOWN, pages=cases_page
        )
        publish(stage, products)
        trace_answers(run, data, requests, answers, audit)
    return ReportsResult(
        flow_run_id=str(flow_run.id), run=run, answers=answers, audit=audit, figures=products.all_figures()
    )


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(reports))
