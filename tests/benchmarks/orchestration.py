"""What the orchestrator costs: the classification as a flow with Prefect and MLflow, beside the same work as a script.

Each side runs in a process of its own with an empty folder of products, turn by turn. Its clock starts once Python and
PyTorch are loaded; that of the flow once its embedded server answers, too. What comes before is shown beside. By hand:

    python -m tests.benchmarks.orchestration flow data/pneumoniamnist.npz products
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import psutil

from tasks.parameters.presets import PRESETS, Preset
from tests.benchmarks.comparison import Comparison

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

Side = Literal["flow", "script"]

PRESET: Preset = "quickstart"
REPEATS = 2
GOAL = 0.95  # the script's seconds by the flow's


@dataclass(frozen=True)
class Run:
    """One run of one side.

    Attributes:
        seconds: of the work.
        processor: seconds of all cores in that time, with those of the flow's server.
        start: seconds until the work began: Python, libraries, and the flow's server.
        metrics: what was found.
    """

    seconds: float
    processor: float
    start: float
    metrics: dict[str, float]


def measure(path: Path) -> list[Comparison]:
    """Run both sides in turn.

    Args:
        path: the official file of PneumoniaMNIST.

    Returns:
        Seconds of the clock, and of the processor, which other programs on the machine disturb less.

    Raises:
        RuntimeError: the sides found different metrics, so that they did not do the same.
    """
    flows, scripts = [], []
    for repeat in range(REPEATS):
        turns: Sequence[Side] = ("flow", "script") if repeat % 2 == 0 else ("script", "flow")
        found = {side: _apart(side, path) for side in turns}
        flows.append(found["flow"])
        scripts.append(found["script"])
    expected = scripts[0].metrics
    for run in (*flows, *scripts):
        different = [name for name, value in expected.items() if not np.isclose(run.metrics.get(name, np.nan), value)]
        if different:
            raise RuntimeError(f"the flow and the script differ in {', '.join(different)}.")
    start, bare = (median(run.start for run in runs) for runs in (flows, scripts))
    return [
        Comparison(
            name=f"classification as a flow, preset {PRESET}, {len(expected)} metrics alike, started in {start:.0f} s",
            ours=median(run.seconds for run in flows),
            reference=median(run.seconds for run in scripts),
            reference_name=f"the same functions in a script, started in {bare:.0f} s",
            goal_ratio=GOAL,
        ),
        Comparison(
            name="processor time of that, with the embedded server's",
            ours=median(run.processor for run in flows),
            reference=median(run.processor for run in scripts),
            reference_name="the same functions in a script",
            goal_ratio=GOAL,
        ),
    ]


def _apart(side: Side, path: Path) -> Run:
    """Run one side in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        inherited = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
        started = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.orchestration", side, str(path), folder],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=inherited | {"OUTPUTS": folder},
        )  # fmt: skip
    began, seconds, processor, metrics = json.loads(done.stdout.splitlines()[-1])
    return Run(seconds, processor, began - started, metrics)


_ELSEWHERE = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "STORE_URI")  # servers and a store that are not this run's own


def run_flow(path: Path) -> tuple[float, float, float, dict[str, float]]:
    """Run the flow as from the shell.

    Args:
        path: the dataset's file.

    Returns:
        Unix time at which the work began, its seconds, those of the processor, and the metrics.
    """
    from flows.classification import classification  # takes OUTPUTS when it is imported
    from flows.support.shell import main

    marks: list[tuple[float, float]] = []

    def begin(flow: "Flow", flow_run: "FlowRun", state: "State") -> None:
        assert flow_run.created is not None
        marks.append((flow_run.created.timestamp(), _processor_seconds()))

    watched = classification.with_options(on_running=[begin])
    if main(watched, ["--preset", PRESET, "--dataset.path", str(path)]) != 0:
        raise RuntimeError("the flow failed.")
    (began, before), ended, after = marks[0], time.time(), _processor_seconds()
    return began, ended - began, after - before, _logged()


def run_script(path: Path, folder: Path) -> tuple[float, float, float, dict[str, float]]:
    """Run the script.

    Args:
        path: the dataset's file.
        folder: where the products go.

    Returns:
        As `run_flow`.
    """
    import medmnist  # noqa: F401  and PyTorch, which the flow loads while its server starts

    from tasks.parameters.evaluation import EvaluationParameters
    from tasks.parameters.training import TrainingParameters

    began, before = time.time(), _processor_seconds()
    from tests.benchmarks.plain_classification import classify

    values = PRESETS[PRESET]
    training = TrainingParameters.model_validate(values["training"])
    metrics = classify(path, training, EvaluationParameters.model_validate(values["evaluation"]), folder)
    return began, time.time() - began, _processor_seconds() - before, metrics


def _processor_seconds() -> float:
    """Sum what this process and those that it started have used."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (this, *this.children(recursive=True)))


def _logged() -> dict[str, float]:
    """Read the metrics of the one MLflow run."""
    from mlflow import MlflowClient

    from tasks.storage.locations import tracking_uri

    client = MlflowClient(tracking_uri())
    experiment = client.get_experiment_by_name("pneumonia/classification")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    return logged.data.metrics


def main() -> None:
    """Run one side and print what it took, and found, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=get_args(Side))
    parser.add_argument("path", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    found = run_flow(options.path) if options.side == "flow" else run_script(options.path, options.folder)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
