"""The pipeline: classification → retrieval → reports; one table and one summary at the end."""

import time
from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.classification import classification
from flows.reports import report
from flows.retrieval import judged, retrieve
from flows.support.naming import run_name
from flows.support.preflight import preflight_pipeline
from flows.support.products import Products, opening_lines, report_to_tracker, stage_run, to_tracker
from flows.support.provenance import log_dataset
from flows.support.runners import task_runner
from flows.support.summary import (
    all_metrics,
    compared_metrics,
    pipeline_report,
    print_results,
    summarize,
    write_summary,
)
from tasks.data.steps import why_one_label_only, why_template_only
from tasks.execution.caching import outcomes
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.reports import ReportParameters
from tasks.parameters.retrieval import RetrievalParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import DocumentRecord
from tasks.storage.store import Store
from tasks.tracking import runs

_SHOWN = ("roc_curve", "failure_cases", "gallery_test", "contact_sheet")

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_RETRIEVAL, _REPORTS, _EXECUTION = RetrievalParameters(), ReportParameters(), ExecutionParameters()


@flow(name="pipeline", flow_run_name=run_name)
@in_plain_words
def pipeline(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
    retrieval: RetrievalParameters = _RETRIEVAL,
    reports: ReportParameters = _REPORTS,
    execution: ExecutionParameters = _EXECUTION,
) -> dict[str, Any]:
    """Train and judge a classifier, search for similar cases with it, and write reports from its evidence.

    Images of several labels each are classified alone, and the run says so in a sentence.
    """
    started = time.monotonic()
    forms = {
        "dataset": dataset, "training": training, "evaluation": evaluation, "retrieval": retrieval, "reports": reports,
    }  # fmt: skip
    located, writers = preflight_pipeline(dataset, retrieval, reports, execution)
    with stage_run("pipeline", forms) as stage:
        run, page = stage.run, stage.page
        classified = classification(dataset, training, evaluation)
        retrieved = None if located is None else retrieve(judged(classified), located, retrieval, execution)
        reported, left_out = None, why_one_label_only(dataset.name)
        if reason := left_out or why_template_only(dataset.name):
            get_run_logger().info(reason)
        if writers is not None and retrieved is not None:
            generator, references = writers
            writing = report.with_options(task_runner=task_runner(execution))
            reported = writing(classified, retrieved, generator, reports, references)

        searches = () if retrieved is None else retrieved.flow_run_ids
        last = [] if reported is None else [reported.flow_run_id]
        steps = outcomes([classified.flow_run_id, *searches, *last])
        seconds = time.monotonic() - started
        log_dataset(run, classified.dataset, "training")
        summary = summarize(str(flow_run.id), seconds, classified, retrieved or left_out, reported or left_out, steps)
        page.dataset, page.decision, page.steps = classified.dataset, classified.decision, steps
        figures = dict(classified.figures)
        for part in (retrieved, reported):
            figures |= part.figures if part else {}
        page.metrics, page.figures = all_metrics(summary), {name: figures[name] for name in _SHOWN if name in figures}
        parts = {"classification": classified.run}
        parts |= {name: part.run for name, part in (("retrieval", retrieved), ("reports", reported)) if part}
        children = {part: runs.place_of(child) for part, child in parts.items()}
        page.links |= {f"MLflow run of {part}": runs.page_of(child) for part, child in parts.items()}
        text = pipeline_report(summary, children)
        document = DocumentRecord(document=Store().put(text.encode(), "text/markdown"))
        metrics = compared_metrics(summary) | {"pipeline/seconds": seconds}
        products = Products(
            page.dataset, document, _ran(list(parts)), metrics, page.figures, shown=tuple(page.figures), links=children
        )
        to_tracker(stage, products)
        report_to_tracker(stage, products)
        page.opening = opening_lines(stage, products)
    print_results(summary, run, write_summary(summary))
    return summary


def _ran(parts: Sequence[str]) -> str:
    """Name the stages that there were, since images of several labels each are classified alone."""
    return (", ".join(parts[:-1]) + " and " * (len(parts) > 1) + parts[-1]).capitalize()


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(pipeline))
