"""Calls of `generate` and decoding steps of a run of the reports flow, from the planner, without a model.

    python -m tests.benchmarks.report_plan

Steps are an upper bound: each batch is counted with its whole limit of new tokens, and rows that end early end sooner.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from models.report_generation.controls import CONTROLS, DEFAULT_CONTROLS
from models.report_generation.generator import Row, row_of
from models.report_generation.medgemma.batching import buckets, run_batches
from models.report_generation.medgemma.engine import Prompt, kind_of, mixed
from models.report_generation.medgemma.generator import MedGemmaGenerator
from models.report_generation.medgemma.memory import MOST_ROWS
from models.report_generation.medgemma.source import Source
from models.report_generation.prompting import STRATEGIES
from models.report_generation.schema import Case, NeighbourEvidence
from tasks.parameters.reports import ReportParameters
from tasks.reports.requests import plan_requests, rows_of_cases, rows_per_case, share_out

IMAGES, SEED = 624, 0


class Planned(NamedTuple):
    """What a run comes to.

    Attributes:
        rows: different rows.
        calls: calls of `generate`, the passes of the yes-or-no question among them.
        steps: passes through the network, at most.
    """

    rows: int
    calls: int
    steps: int


def rows_of_run(count: int, controls: Sequence[str], controlled: int) -> list[Row]:
    """Plan a run over made-up cases with every strategy.

    Args:
        count: cases.
        controls: names of the controls.
        controlled: cases with controls.

    Returns:
        A row of every request.
    """
    chance = np.random.default_rng(SEED)
    images = chance.integers(0, 256, (IMAGES, 28, 28), dtype=np.uint8)
    labels = np.arange(IMAGES) % 2
    cases = [
        Case(
            index=index, image_sha256=str(index), probability=float(chance.uniform()), threshold=0.5,
            heat_region="no focus", heat_share=0,
            neighbours=tuple(
                NeighbourEvidence(index=other, label="normal", similarity=0.9, split="train") for other in range(5)
            ),
        )
        for index in chance.permutation(IMAGES)[:count].tolist()
    ]  # fmt: skip
    generator = _generator()
    plan = plan_requests(generator, cases, controls, controlled, images, labels, SEED)
    return [row_of(generator, request) for request in plan.requests]


def planned(tasks: Iterable[Sequence[Row]], largest: int) -> Planned:
    """Count what the engine would do.

    Args:
        tasks: the rows of each task.
        largest: rows in the largest batch that is tried, all of which fit.

    Returns:
        The counts.
    """
    rows = calls = steps = 0
    for task in tasks:
        rows += len(task)
        prompts = [_generator()._asked(row) for row in task]
        for bucket in buckets(prompts, kind=kind_of, length=lambda prompt: len(prompt.text)):
            most = largest
            if bucket[0].company:
                bucket, most = mixed(bucket, largest, key=lambda prompt: prompt.key)
            run = run_batches(bucket, _nothing, most, is_out_of_memory=_no, is_fatal=_no, free_memory=lambda: None)
            batches = len(list(run))
            calls += batches
            steps += batches * bucket[0].max_new_tokens
    return Planned(rows, calls, steps)


def _nothing(prompts: Sequence[Prompt]) -> Sequence[Prompt]:
    return prompts


def _no(error: Exception) -> bool:
    return False


def _generator() -> MedGemmaGenerator:
    source = Source("google/medgemma-4b-it", "", "", False)
    return MedGemmaGenerator(source, "nf4", "cuda", STRATEGIES, True, None, "", "", False)


def main() -> int:
    """Print the counts of some runs, as tasks of a few cases and as tasks of many rows."""
    most = ReportParameters().batch_size
    runs = {
        "24 cases, controls with `alone`": rows_of_run(24, [*list(CONTROLS)[:-2], "alone"], 24),
        "24 cases, controls with `companions`": rows_of_run(24, DEFAULT_CONTROLS, 24),
        "624 cases, no controls": rows_of_run(624, (), 0),
    }
    for name, rows in runs.items():
        cases = len(rows_per_case(rows))
        by_cases = [[rows_of_cases(rows, first, first + step) for first in range(0, cases, step)] for step in (8, 64)]
        by_rows = [rows_of_cases(rows, *share) for share in share_out(rows_per_case(rows), most)]
        ways = (
            ("8 cases a task, 64 rows at once", by_cases[0], 64),
            ("64 cases a task, 64 rows at once", by_cases[1], 64),
        )
        for way, tasks, largest in (*ways, (f"{most} rows a task, {MOST_ROWS} at once", by_rows, MOST_ROWS)):
            found = planned(tasks, largest)
            sys.stdout.write(f"{name}; {way}: {found.rows} rows, {found.calls} calls, {found.steps} steps\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
