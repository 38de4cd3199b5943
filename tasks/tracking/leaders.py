"""The run of an experiment that leads by a metric, and its newest one."""

from dataclasses import dataclass

from tasks.records.base import RunReference
from tasks.tracking.runs import experiment_id, new_client, page_of


@dataclass(frozen=True)
class TrackedRun:
    """A finished run.

    Attributes:
        name: of the run.
        page: address of its page.
        metrics: by name.
        dataset: title of its dataset; empty where it logged none.
    """

    name: str
    page: str
    metrics: dict[str, float]
    dataset: str


def first_run(stage: str, order: str, *conditions: str) -> TrackedRun | None:
    """Find the finished run of a stage that comes first.

    Args:
        stage: last part of the experiment's name.
        order: by what runs are sorted, such as "metrics.`val/auc` DESC".
        conditions: what else must hold of it, in MLflow's search syntax.

    Returns:
        The run; None where there is none.
    """
    client = new_client()
    wanted = " and ".join(("attributes.status = 'FINISHED'", *conditions))
    found = client.search_runs([experiment_id(client, f"pneumonia/{stage}")], wanted, order_by=[order], max_results=1)
    if not found:
        return None
    (run,) = found
    dataset = next((each.dataset.name for each in (run.inputs.dataset_inputs if run.inputs else ())), "")
    page = page_of(RunReference(run_id=run.info.run_id))
    return TrackedRun(str(run.info.run_name), page, dict(run.data.metrics), dataset)
