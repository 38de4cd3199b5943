"""What earlier runs of a stage measured, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.tracking.runs import experiment_id, new_client

_AT_ONCE = 1000


@dataclass(frozen=True)
class PastRun:
    """What a finished run measured.

    Attributes:
        moment: when it began, UTC.
        metrics: by name.
        dataset: title of its dataset; empty where it logged none.
    """

    moment: datetime
    metrics: Mapping[str, float]
    dataset: str = ""


def past_runs(stage: str, *conditions: str) -> list[PastRun]:
    """Read the finished runs of a stage.

    Args:
        stage: last part of the experiment's name.
        conditions: what else must hold of them, in MLflow's search syntax.

    Returns:
        All of them, the oldest first.
    """
    client = new_client()
    wanted = " and ".join(("attributes.status = 'FINISHED'", *conditions))
    experiment, found, token = experiment_id(client, f"pneumonia/{stage}"), [], None
    while True:
        page = client.search_runs(
            [experiment], wanted, order_by=["attributes.start_time ASC"], max_results=_AT_ONCE, page_token=token
        )
        for run in page:
            dataset = next((each.dataset.name for each in (run.inputs.dataset_inputs if run.inputs else ())), "")
            moment = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
            found.append(PastRun(moment, dict(run.data.metrics), dataset))
        token = page.token
        if not token:
            return found
