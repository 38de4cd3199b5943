"""The end of a pipeline run: one table for the person, one JSON file for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.support.terminal import print_line, print_table
from models.markdown import escape
from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from tasks.execution.caching import Outcome
from tasks.execution.server import flow_run_page
from tasks.records.base import RunReference
from tasks.records.classification import ClassificationResult
from tasks.records.reports import ReportsResult
from tasks.records.retrieval import RetrievalResult
from tasks.shared.estimates import format_value
from tasks.shared.markdown import document, picture, table
from tasks.storage.locations import outputs
from tasks.storage.temporary_files import write_whole
from tasks.tracking import runs

STAGES = ("classification", "retrieval", "reports")
SHOWN = (
    "test/auc", "test/accuracy", "test/balanced_accuracy", "test/quadratic_kappa", "test/recall", "test/specificity",
    "test/ece",
    "loo/precision_at_1", "loo/precision_at_5", "loo/map", "gallery/precision_at_1",
    "reports/count", "reports/label_accuracy", "reports/unsupported_claims_per_report",
)  # fmt: skip


def summarize(
    flow_run_id: str,
    seconds: float,
    classified: ClassificationResult,
    retrieved: RetrievalResult | str | None,
    reported: ReportsResult | str | None,
    steps: Sequence[Outcome],
) -> dict[str, Any]:
    """Put together what `outputs/summary.json` says of a pipeline run.

    Args:
        flow_run_id: Prefect flow run.
        seconds: wall time of the flow.
        classified: result of the classification.
        retrieved: result of the retrieval, or why there is none.
        reported: result of the reports, or why there are none.
        steps: how the steps ended.

    Returns:
        JSON values; metrics that are not finite are left out.
    """
    dataset = classified.dataset
    hits = sum(step.hit for step in steps)
    contents = {
        "flow_run_id": flow_run_id,
        "seconds": round(seconds, 3),
        "notice": RESEARCH_NOTICE,
        "dataset": {
            "name": dataset.name,
            "title": dataset.title,
            "limit": dataset.limit,
            "kind": dataset.kind,
            "source": dataset.source,
            "md5": dataset.md5,
            "images": dataset.counts,
        },
        "tasks": {
            "executed": len(steps) - hits,
            "cached": hits,
            "steps": [
                {"step": step.step, "hit": step.hit, "why": step.why, "seconds": round(step.seconds, 3)}
                for step in steps
            ],
        },
        "classification": _stage(
            classified.run, classified.evaluation.metrics | {"train/seconds": classified.classifier.seconds}
        ),
        "reports": _stage(reported.run, reported.audit.metrics)
        if isinstance(reported, ReportsResult)
        else _left_out(reported),
        "retrieval": _stage(retrieved.run, retrieved.retrieval.metrics)
        if isinstance(retrieved, RetrievalResult)
        else _left_out(retrieved),
    }
    return contents | ({"phantoms": PHANTOM_NOTICE} if dataset.phantoms else {})


def write_summary(contents: dict[str, Any]) -> Path:
    """Write `outputs/summary.json`, whole or not at all.

    Returns:
        Its path.
    """
    path = outputs() / "summary.json"
    write_whole(path, json.dumps(contents, indent=1).encode(), outputs())
    return path


def result_rows(contents: dict[str, Any]) -> list[dict[str, str]]:
    """Return the table of results: the metrics that matter, with their intervals.

    Args:
        contents: what `summarize` made.

    Returns:
        A row a metric, by column.
    """
    metrics = all_metrics(contents)
    rows = []
    for name in SHOWN:
        if name in metrics:
            low, high = metrics.get(f"{name}_ci_low"), metrics.get(f"{name}_ci_high")
            interval = "" if low is None else f"{low:.3f} – {high:.3f}"
            rows.append(dict(zip(_COLUMNS, (name, format_value(metrics[name]), interval), strict=True)))
    return rows


def all_metrics(contents: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of all stages.

    Args:
        contents: what `summarize` made.
    """
    return {name: value for stage in STAGES for name, value in contents[stage]["metrics"].items()}


def compared_metrics(contents: dict[str, Any]) -> dict[str, float]:
    """Return the metrics by which whole runs are compared; the others are those of their stages.

    Args:
        contents: what `summarize` made.
    """
    metrics = all_metrics(contents)
    names = [name + end for name in ("val/auc", *SHOWN) for end in ("", "_ci_low", "_ci_high")]
    names += [f"chance/{name}" for name in SHOWN]
    return {name: metrics[name] for name in names if name in metrics}


def pipeline_report(contents: dict[str, Any], children: Mapping[str, str]) -> str:
    """Write what a pipeline run came to as Markdown.

    Args:
        contents: what `summarize` made.
        children: address of the run of each stage, by its name.
    """
    dataset = contents["dataset"]
    images = ", ".join(f"{count} {split}" for split, count in dataset["images"].items())
    results = table(_COLUMNS, [tuple(row.values()) for row in result_rows(contents)])
    stages = "\n".join(f"- [{stage}]({address})" for stage, address in children.items())
    sections = [
        ("Results", results),
        ("What it finds", _NEIGHBOURS),
        ("What it reports", _REPORTS),
        ("Data", f"{escape(dataset['title'])}, {escape(dataset['kind'])}: {images}."),
        ("The stages' own runs", stages),
        *([("What is left out", escape(" ".join(told)))] if (told := _all_left_out(contents)) else []),
    ]
    return document("Pipeline", sections, phantoms="phantoms" in contents)


def print_results(contents: dict[str, Any], run: RunReference, written: Path) -> None:
    """Print the table: metrics with intervals, steps with hit or run, and where to look.

    Args:
        contents: what `summarize` made.
        run: MLflow run of the pipeline.
        written: path of the summary.
    """
    tasks = contents["tasks"]
    if "phantoms" in contents:
        print_line(contents["phantoms"], style="bold red")
    print_table(
        [("metric", "left"), ("value", "right"), ("95 % interval", "right")],
        [tuple(row.values()) for row in result_rows(contents)],
        title=f"{contents['dataset']['title']}, {contents['dataset']['kind']}",
        style="bold",
    )
    print_table(
        [("step", "left"), ("", "left"), ("seconds", "right"), ("why", "left")],
        [
            (step["step"], "hit" if step["hit"] else "run", f"{step['seconds']:.1f}", step["why"])
            for step in tasks["steps"]
        ],
        title=f"steps: {tasks['executed']} run, {tasks['cached']} hit",
    )
    for told in _all_left_out(contents):
        print_line(told)
    for line in _where_to_look(contents, run, written):
        print_line(line)


_NEIGHBOURS = picture("gallery_test", "Test images and those nearest to them: green frames have the query's class.")
_REPORTS = picture("contact_sheet", "Some cases: the image, where the evidence lies, what classifier and report say.")
_COLUMNS = ("metric", "value", "95 % interval")


def _stage(run: RunReference, metrics: dict[str, float]) -> dict[str, Any]:
    finite = {name: value for name, value in metrics.items() if abs(value) < float("inf")}
    return {"mlflow_run_id": run.run_id, "metrics": finite}


def _left_out(reason: str | None) -> dict[str, Any]:
    return {"mlflow_run_id": None, "metrics": {}, "left_out": reason}


def _all_left_out(contents: dict[str, Any]) -> list[str]:
    return [contents[stage]["left_out"] for stage in ("retrieval", "reports") if "left_out" in contents[stage]]


def _where_to_look(contents: dict[str, Any], run: RunReference, written: Path) -> Iterator[str]:
    yield f"{contents['seconds']:.1f} s in the flow. Summary: {written}"
    yield f"MLflow:  {runs.page_of(run)}"
    yield f"Prefect: {flow_run_page(contents['flow_run_id'])}"
    yield "`make up` serves both pages if they do not answer yet. Figures and reports are in the MLflow runs."
    yield RESEARCH_NOTICE
