"""`make bench`: every benchmark beside what it is compared to, as a table and `outputs/benchmarks.json`."""

import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from models.errors import InputError
from tasks.data.steps import locate_source
from tasks.parameters.dataset import DatasetParameters
from tasks.storage.locations import outputs
from tests.benchmarks import (
    cases,
    execution,
    orchestration,
    report_generation,
    retrieval_evaluation,
    serving,
    time_to_mark,
    training_batches,
    vector_search,
)
from tests.benchmarks.comparison import Comparison


def main() -> int:
    """Run the benchmarks.

    Returns:
        Exit code: 0, or 2 where the dataset cannot be had. A missed goal is shown, not an error.
    """
    try:
        path = Path(locate_source(DatasetParameters()).path)
        with np.load(path) as arrays:
            images, labels = arrays["train_images"], arrays["train_labels"][:, 0].astype(np.int64)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    console = Console()
    results: list[Comparison] = []
    for measure in _measurements(path, images, labels):
        with console.status("measuring ..."):
            found = measure()
        for result in found:
            console.print(f"measured: {result.name}")
        results += found
    console.print("measuring vector search, which takes longest ...")
    searches = vector_search.measure_sizes()
    results += vector_search.compare(searches)
    console.print(_table(results))
    console.print(vector_search.table(searches))
    console.print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    console.print(f"Written to {_write(results, searches)}", soft_wrap=True)
    return 0


def _measurements(path: Path, images: np.ndarray, labels: np.ndarray) -> Iterator[Callable[[], list[Comparison]]]:
    yield lambda: time_to_mark.measure(path)
    yield lambda: [training_batches.measure(images, labels)]
    yield lambda: [retrieval_evaluation.measure()]
    yield lambda: [retrieval_evaluation.measure_python_loop()]
    yield lambda: [retrieval_evaluation.measure_numpy_loop()]
    yield lambda: [retrieval_evaluation.measure_many()]
    yield lambda: [report_generation.measure()]
    yield lambda: [vector_search.measure_single_query()]
    yield serving.measure
    yield cases.measure
    yield execution.measure
    yield lambda: orchestration.measure(path)


def _table(results: list[Comparison]) -> Table:
    table = Table(title="ours beside a reference, medians, alternating in one process")
    for column in ("measured", "compared to"):
        table.add_column(column, overflow="fold")
    for column in ("ours", "reference", "ratio", "goal", "peak MiB"):
        table.add_column(column, justify="right")
    for result in results:
        ratio = result.reference / result.ours
        late = result.goal_seconds is not None and result.ours > result.goal_seconds
        missed = ratio < result.goal_ratio or late
        goal = f"≥ {result.goal_ratio:g}×" + (f", ≤ {_time(result.goal_seconds)}" if result.goal_seconds else "")
        peak = "" if result.peak_mib is None else f"{result.peak_mib:.0f}"
        table.add_row(
            result.name, result.reference_name, _time(result.ours), _time(result.reference),
            f"{ratio:.{1 if ratio >= 2 else 2}f}×", f"{goal} {'missed' if missed else 'met'}", peak,
            style="yellow" if missed else None,
        )  # fmt: skip
    return table


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def _write(results: list[Comparison], searches: list[vector_search.SearchRow]) -> Path:
    path = outputs() / "benchmarks.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(result) | {"ratio": result.reference / result.ours} for result in results]
    found = [asdict(row) for row in searches]
    machine = {"machine": platform.machine(), "threads": torch.get_num_threads()}
    path.write_text(
        json.dumps({"machine": machine, "torch": torch.__version__, "results": rows, "vector_search": found}, indent=1)
    )
    return path


if __name__ == "__main__":
    raise SystemExit(main())
