"""The history of the champion's search: drift, performance and volume by week, as the tracker has them."""

from collections.abc import Mapping
from datetime import UTC, datetime

from flows.support.headlines import title_of
from tasks.records.base import StoredFile
from tasks.records.data import DatasetRecord
from tasks.shared.metric_names import class_metric
from tasks.storage.store import Store
from tasks.tracking import registry
from tasks.tracking.history import PastRun, past_runs

HISTORY = "history.html"
"""Path of the page in a run."""
_WEEKS = 53
_PERFORMANCE = ("loo/precision_at_1", "loo/map", "gallery/precision_at_1")
_JUDGED, _NEW = "cases/count", "drift/new_images"


def write_history(dataset: DatasetRecord, encoder: str, metrics: Mapping[str, float]) -> StoredFile:
    """Write the history up to a run that is still under way.

    Args:
        dataset: its images; only runs over images of the same title are counted.
        encoder: name of its encoder; likewise.
        metrics: what it has measured.

    Returns:
        The page.
    """
    from tasks.retrieval.figures.history_page import RUNS, Panel, history_page  # Bokeh takes a second to load
    from tasks.retrieval.weekly import by_week

    judged = past_runs(
        "retrieval", f"params.`retrieval.classifier` = '{registry.CHAMPION}'", f"params.encoder = '{encoder}'"
    )
    found = [run for run in judged if run.dataset == dataset.title]
    found.append(PastRun(datetime.now(UTC), metrics))
    pictures = [(run.moment, {_JUDGED: run.metrics[_JUDGED]}) for run in past_runs("cases") if _JUDGED in run.metrics]
    weeks = by_week([(run.moment, run.metrics) for run in found], pictures, _WEEKS)
    panels = [
        Panel(
            "Drift",
            "How well a linear classifier tells test images, or new ones, from those of train by their embeddings: at "
            "the dashed line not at all.",
            {class_metric("drift/domain_auc", label): f"test, {label}" for label in dataset.labels}
            | {class_metric("drift/new_domain_auc", label): f"new, {label}" for label in dataset.labels},
            chance=0.5,
        ),
        Panel(
            "Performance",
            "How far the neighbours of test images are of their class. It changes with a new champion and with other "
            "images.",
            {name: title_of(name) for name in _PERFORMANCE},
        ),
        Panel(
            "Volume",
            "How many runs there were, how many test images the index had not seen, and how many pictures of one's own "
            "were judged.",
            {RUNS: RUNS, _NEW: "new images", _JUDGED: "pictures judged"},
            counted=True,
        ),
    ]
    page = history_page(
        weeks, panels, title="History by week", phantoms=dataset.phantoms,
        about=f"Finished runs with the champion and the encoder {encoder} on {dataset.title}, this run included, by "
        "the week in which they began (UTC); a point is the mean of a week.",
    )  # fmt: skip
    return Store().put(page.encode(), "text/html")
