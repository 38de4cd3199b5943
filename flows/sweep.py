"""Sweep: a grid or a search of settings × seeds, each a classification of its own → leaderboard."""

import time
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.support.naming import run_name
from flows.support.products import Products, publish, stage_run
from flows.support.provenance import log_dataset
from flows.support.runners import require_workers
from flows.trials import run_search, run_trials
from models.errors import InputError
from models.text import printable
from tasks.classification.sweep.grid import grid
from tasks.classification.sweep.leaderboard import leaderboard, rows_as_numbers, sweep_report
from tasks.data.catalogue import look_up
from tasks.data.steps import locate_source, prepare_dataset, require_one_label
from tasks.execution.plain_words import in_plain_words
from tasks.parameters.dataset import DatasetParameters
from tasks.parameters.evaluation import EvaluationParameters
from tasks.parameters.execution import ExecutionParameters
from tasks.parameters.sweep import SweepParameters
from tasks.parameters.training import TrainingParameters
from tasks.records.base import DocumentRecord, RunReference
from tasks.storage.store import Store
from tasks.tracking import runs

if TYPE_CHECKING:
    from tasks.classification.sweep.search import Search

_DATASET, _TRAINING, _EVALUATION = DatasetParameters(), TrainingParameters(), EvaluationParameters()
_SWEEP, _EXECUTION = SweepParameters(), ExecutionParameters()


@flow(name="sweep", flow_run_name=run_name)
@in_plain_words
def sweep(
    dataset: DatasetParameters = _DATASET,
    training: TrainingParameters = _TRAINING,
    evaluation: EvaluationParameters = _EVALUATION,
    sweep: SweepParameters = _SWEEP,
    execution: ExecutionParameters = _EXECUTION,
) -> dict[str, Any]:
    """Train combinations of settings, all or those that a search proposes, and put them in order by validation."""
    started = time.monotonic()
    require_workers(execution)
    require_one_label(dataset.name, "sweep")
    classes = len(look_up(dataset.name, dataset.size).labels)
    search = _search(training, sweep, classes) if sweep.search == "tpe" else None
    trials = [] if search else grid(training, sweep, classes)
    source = locate_source(dataset)
    forms = {"dataset": dataset, "training": training, "evaluation": evaluation, "sweep": sweep}
    with stage_run("sweep", forms) as stage:
        run = stage.run
        data = prepare_dataset(source, dataset.limit)
        log_dataset(run, data, "training")
        where = data, dataset, evaluation, sweep.at_once, execution
        results = run_search(search, sweep.trials or 0, *where) if search else run_trials(trials, *where)
        rows = leaderboard(results)
        states = [result.state for result in results]
        counts = {f"sweep/{state}": states.count(state) for state in ("run", "kept", "failed")}
        from tasks.shared.figures import Source

        section, pictures = "", dict[str, bytes]()
        if search:
            from tasks.classification.sweep.search_figures import search_figures
            from tasks.classification.sweep.search_report import search_section

            counts["sweep/pruned"] = sum(result.pruned for result in results)
            section, pictures = search_section(search), search_figures(search, source=Source.of(data))

        store = Store()
        report = sweep_report(
            rows, results, phantoms=data.phantoms, search=section,
            address=lambda run_id: runs.page_of(RunReference(run_id=run_id)),
        )  # fmt: skip
        document = DocumentRecord(document=store.put(report.encode(), "text/markdown"))
        metrics, figures = counts | {"sweep/seconds": time.monotonic() - started}, {}
        if rows[0].rank is not None:
            from tasks.classification.sweep.figures import parallel_coordinates

            lines = parallel_coordinates(rows, results, source=Source.of(data))
            figures = store.put_pictures({"parallel_coordinates": lines, **pictures})
            metrics |= {f"best/{name}": value.mean for name, value in rows[0].summaries.items()}
        tables = {"leaderboard.json": rows_as_numbers(rows)}
        publish(
            stage,
            Products(data, document, metrics=metrics, figures=figures, tables=tables, shown=tuple(figures)),
        )
        get_run_logger().info("Leaderboard and figure: %s", runs.page_of(run))
        if failed := [result for result in results if result.state == "failed"]:
            first = printable(failed[0].error, 160)
            raise (InputError if all(result.refused for result in failed) else RuntimeError)(
                f"{len(failed)} of {len(results)} trainings failed, the first because: {first} "
                "The leaderboard names them all; the next sweep tries only these again."
            )
    return {"flow_run_id": str(flow_run.id), "mlflow_run_id": run.run_id, "rows": rows, "results": results}


def _search(training: TrainingParameters, sweep: SweepParameters, classes: int) -> "Search":
    from tasks.classification.sweep.search import Search  # Optuna takes half a second to load

    return Search(training, sweep, classes)


if __name__ == "__main__":
    from flows.support.shell import main

    raise SystemExit(main(sweep))
