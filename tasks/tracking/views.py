"""Saved views of MLflow's pages: the leaderboard of an experiment, and the figures of its runs side by side.

They are written as those pages save a view of their own, and stand under *Views* on the page of the experiment. A view
that a person has changed there is left as it is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TAG = "mlflow.sharedViewState."
"""Tags of an experiment that keep its views begin so; the key of the view follows."""
_FORM = 2  # of what is written here: a view of an older one is replaced
_RUN, _DATASET, _DURATION, _CREATED = "attributes.`Run Name`", "attributes.`Dataset`", "duration", "runDateAndNestInfo"
_WIDTHS, _SHARED = {_RUN: 200, _DATASET: 160, _CREATED: 110, _DURATION: 76}, 600  # pixels: all fit into 1440


@dataclass(frozen=True)
class Leaderboard:
    """The columns of an experiment's leaderboard, and by what its runs are sorted.

    Attributes:
        metrics: names; the runs are sorted by the first.
        params: names.
        tags: names.
        ascending: whether less of the first metric is better.
    """

    metrics: Sequence[str]
    params: Sequence[str] = ()
    tags: Sequence[str] = ()
    ascending: bool = False


_TRAINING = ("training.seed", "training.epochs", "dataset.limit")
LEADERBOARDS: Mapping[str, Leaderboard] = {
    "classification": Leaderboard(("val/auc", "test/auc", "test/accuracy"), _TRAINING, ("champion",)),
    "sweep": Leaderboard(
        (
            "best/val/balanced_log_loss", "best/val/auc", "best/test/auc", "best/test/accuracy", "sweep/run",
            "sweep/failed",
        ),
        ("training.epochs", "dataset.limit"),
        ascending=True,
    ),
    "retrieval": Leaderboard(
        ("loo/map", "loo/precision_at_1", "loo/precision_at_5", "gallery/precision_at_1"),
        ("encoder", "retrieval.index"),
        ("dataset.limit", "index.published"),
    ),
    "reports": Leaderboard(
        (
            "reports/label_accuracy", "reports/agreement_with_classifier", "reports/unsupported_claims_per_report",
            "reports/count", "reports/seconds_per_report",
        ),
        ("reports.generator",),
        ("dataset.limit",),
    ),
    "cases": Leaderboard(
        ("cases/count", "cases/counted", "cases/foreign", "cases/unreadable", "cases/borderline", "cases/disagreement"),
        ("cases.classifier", "reports.generator"),
    ),
    "pipeline": Leaderboard(
        ("val/auc", "test/auc", "test/accuracy", "loo/precision_at_1", "loo/map", "reports/label_accuracy"), _TRAINING
    ),
}  # fmt: skip
"""By stage; the dataset and how long a run took are always there."""


def leaderboard(columns: Leaderboard) -> str:
    """Describe the view of a leaderboard.

    Args:
        columns: what it shows.

    Returns:
        The value of the tag that keeps it.
    """
    tags = [f"tags.`{name}`" for name in columns.tags]
    metrics = [f"metrics.`{name}`" for name in columns.metrics]
    params = [f"params.`{name}`" for name in columns.params]
    width = min(_SHARED // len([*tags, *metrics, *params]), 180)
    order = [_RUN, *tags, *metrics, *params, _DATASET, _DURATION, _CREATED]
    return _view(
        "Leaderboard",
        {
            "searchFilter": "",
            "orderByKey": f"metrics.`{columns.metrics[0]}`",
            "orderByAsc": columns.ascending,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": [*tags, *metrics, *params, _DATASET],
            "columnOrder": order,
            "columnWidths": {column: _WIDTHS.get(column, width) for column in order},
        },
    )


def figure_view(images: Sequence[str], metrics: Sequence[str] = ()) -> str:
    """Describe the view of the figures: a card a figure with one picture a run, and below them metrics as bars.

    A card of its own shows the pictures as large as they are, and those of further runs below one another; one card
    for all figures would make them as narrow as there are runs.

    Args:
        images: keys of the images, in the order of the rows.
        metrics: names of the metrics that come before all others.

    Returns:
        The value of the tag that keeps it.
    """
    figures = [
        _chart(f"figure-{image}", "IMAGE", "side-by-side")
        | {"imageKeys": [image], "displayName": image, "runsCountToCompare": 10, "step": 0, "showRunParams": False}
        for image in images
    ]
    bars = [_chart(f"bars-{name}", "BAR", "metrics") | {"metricKey": name} for name in metrics]
    sections = [_section("side-by-side", "Side by side", columns=1, height=620)]
    families = dict.fromkeys(name.rpartition("/")[0] for name in metrics)  # as MLflow names its sections
    sections += [_section("metrics", "Metrics", columns=3, height=260)] if bars else []
    sections += [_section(family, family, columns=3, height=260) for family in families]
    return _view(
        "Figures side by side",
        {
            "compareRunCharts": [*figures, *bars],
            "compareRunSections": sections,
            "isAccordionReordered": True,
            "runListHidden": True,
            "runsHiddenMode": "FIRST_10_RUNS",
        },
    )


def is_outdated(known: str | None) -> bool:
    """Tell whether a view is to be written: there is none, or one of an older form that no person has changed.

    Args:
        known: the value of its tag.
    """
    if known is None:
        return True
    try:
        view = json.loads(known)
        return view["createdAt"] == 0 and not view.get("updatedAt") and view.get("form") != _FORM
    except (ValueError, KeyError, TypeError, AttributeError):  # not ours
        return False


def _view(name: str, state: Mapping[str, Any]) -> str:
    """Write a view down; MLflow's pages set `updatedAt` when a person changes it, and leave `form` out."""
    return json.dumps({"name": name, "createdAt": 0, "form": _FORM, "state": json.dumps(state)})


def _chart(key: str, kind: str, section: str) -> dict[str, Any]:
    return {"uuid": key, "type": kind, "metricSectionId": section, "deleted": False, "isGenerated": False}


def _section(key: str, name: str, *, columns: int, height: int) -> dict[str, Any]:
    return {
        "uuid": key,
        "name": name,
        "columns": columns,
        "cardHeight": height,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }
