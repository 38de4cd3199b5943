"""Reports: choose cases → classifier evidence → report batches → audit → compare."""

from prefect import flow
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff

from flows.classification import classification
from flows.retrieval import judged, require_trained, retrieve
from flows.support.artifacts import show_document, show_steps
from flows.support.runners import require_workers, task_runner
from tasks.data.steps import locate_source, require_pneumonia, smallest_test_class
from tasks.execution import progress
from tasks.execution.caching import outcomes
from tasks.execution.faults import is_transient
from tasks.execution.mapping import map_step
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.classification import ClassificationResult
from tasks.records.reports import GeneratorRecord, ReportsResult
from tasks.records.retrieval import RetrievalResult
from tasks.reports.steps.audit import audit_written_reports
from tasks.reports.steps.planning import choose_report_cases, locate_generator, plan_reports
from tasks.reports.steps.presentation import document_reports, plot_reports, show_cases, trace_answers
from tasks.reports.steps.writing import read_reports, throughput_metrics, write_reports
from tasks.retrieval.steps import check_cutoffs, locate_encoders
from tasks.storage.store import Store
from tasks.tracking import runs

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_RETRIEVAL, _REPORTS, _EXECUTION = RetrievalParameters(), ReportParameters(), ExecutionParameters()


@flow(name="reports", flow_run_name="reports {reports.generator} seed {training.seed}")
def reports(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
    retrieval: RetrievalParameters = _RETRIEVAL,
    reports: ReportParameters = _REPORTS,
    execution: ExecutionParameters = _EXECUTION,
) -> ReportsResult:
    """Write reports for chosen test cases from the classifier's evidence, and audit them."""
    require_pneumonia(dataset)
    require_trained(retrieval)
    check_cutoffs(retrieval, smallest_test_class(locate_source(dataset), dataset.limit))
    require_workers(execution)
    generator, located = locate_generator(reports), locate_encoders(retrieval)
    classified = classification(dataset, training, evaluation)
    retrieved = retrieve(judged(classified), located, retrieval, execution)
    return report.with_options(task_runner=task_runner(execution))(classified, retrieved, generator, reports)


_SHOWN = ("contact_sheet", "label_scores", "claims", "controls")


@flow(name="report", flow_run_name="reports {generator.name}")
def report(
    classified: ClassificationResult, retrieved: RetrievalResult, generator: GeneratorRecord, reports: ReportParameters
) -> ReportsResult:
    """Write and audit reports, once there are a classifier and neighbours."""
    data, evaluation, explanation = classified.dataset, classified.evaluation, classified.explanation
    with runs.tracked_run("reports", {"reports": reports}) as run:
        runs.log_dataset(run, data, "evaluation")
        cases = choose_report_cases(
            data, evaluation, explanation, retrieved.neighbours, reports.cases, reports.neighbours
        )
        requests = plan_reports(data, cases, generator, list(reports.controls), reports.controlled_cases)
        runs.log_generator(run, generator)
        shown = progress.begin("reports-progress", "reports", requests.rows)
        firsts = range(0, requests.cases, reports.batch_size)
        patient = write_reports.with_options(
            retries=3,
            retry_delay_seconds=exponential_backoff(10),
            retry_jitter_factor=0.5,
            retry_condition_fn=is_transient,
        )
        same = {"dataset": data, "requests": requests, "shown": shown}
        batches = map_step(patient, [{**same, "first": first, "last": first + reports.batch_size} for first in firsts])
        progress.end(shown)
        answers = read_reports(data, requests, batches)
        audit = audit_written_reports(cases, answers)
        plots = plot_reports(data, explanation, cases, generator, answers, audit)
        pages = show_cases(data, explanation, cases, generator, answers, audit)
        document = document_reports(data, cases, generator, answers, audit)

        runs.log_metrics(run, audit.metrics | throughput_metrics(batches))
        table = Store().get_json(audit.table)
        runs.log_table(run, "reports.json", table["columns"], table["data"])
        runs.log_files(run, {f"figures/{name}.png": stored for name, stored in plots.figures.items()})
        runs.log_files(run, {"report.md": document.document} | pages.files)
        trace_answers(run, data, requests, answers, audit)
        figures = {name: plots.figures[name] for name in _SHOWN if name in plots.figures}
        runs.log_images(run, figures)
        show_document("reports", document, figures)
        show_steps("reports", outcomes([str(flow_run.id)]))
    return ReportsResult(flow_run_id=str(flow_run.id), run=run, answers=answers, audit=audit, document=document)


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(reports))
