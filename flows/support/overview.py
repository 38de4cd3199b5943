"""The start page of everything, the artifact `overview`, which every run brings up to date."""

import logging
from datetime import UTC, datetime

from flows.support.headlines import title_of
from models.errors import InputError
from models.markdown import Markdown, escape, link
from models.text import printable
from tasks.execution.artifacts import write_overview
from tasks.execution.server import prefect_page
from tasks.shared.estimates import format_value
from tasks.shared.markdown import document, table
from tasks.tracking import registry
from tasks.tracking.leaders import TrackedRun, first_run
from tasks.tracking.runs import leaderboard_page

_STAGES = ("pipeline", "classification", "retrieval", "reports", "sweep")
_WHOLE = "params.`dataset.limit` = 'None'"  # a part of the data is a trial
_NONE = "none yet"


def show_overview() -> None:
    """Write the overview anew from what the tracker and the registry hold; an error leaves it as it was."""
    try:
        write_overview(_text())
    except Exception as error:  # what is shown must not end what is done
        logging.getLogger(__name__).warning("The overview stays as it was: %s", printable(error))


def _text() -> str:
    best = first_run("classification", "metrics.`val/auc` DESC", "metrics.`val/auc` > 0", _WHOLE)
    last = first_run("retrieval", "attributes.start_time DESC")
    reports = first_run("reports", "attributes.start_time DESC")
    rows = [
        ("Champion", _champion()),
        ("Best classifier by validation AUC", _said(best, "val/auc", "test/auc", "test/balanced_accuracy")),
        ("Last retrieval", _said(last, "loo/precision_at_1", "loo/map", "gallery/precision_at_1")),
        ("Last drift, AUC of test against train by class", _drift(last)),
        ("Last reports", _said(reports, "reports/count", "reports/label_accuracy")),
        ("Dataset of the best classifier", escape(best.dataset) if best and best.dataset else _NONE),
    ]
    boards = [link(stage, leaderboard_page(stage)) for stage in _STAGES]
    places = [
        ("Run something", link("Prefect: Deployments", f"{prefect_page()}/deployments")),
        ("What ran", link("Prefect: Runs", f"{prefect_page()}/runs")),
        ("Alerts", link("Prefect: alerts", f"{prefect_page()}/artifacts/key/alerts")),
        ("Compare", Markdown(" · ".join(boards))),
    ]
    moment = f"Brought up to date at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    sections = [("Now", f"{table(['', ''], rows)}\n{moment}"), ("Where to look", table(["", ""], places))]
    return document("Overview", sections, phantoms=False)


def _champion() -> Markdown:
    name = registry.registered_name("pneumoniamnist")
    try:
        found = next((each for each in registry.versions(name) if registry.CHAMPION in each.aliases), None)
    except InputError:  # nothing is registered
        found = None
    if found is None:
        return Markdown(_NONE)
    auc = float(found.tags[registry.VALIDATION_AUC])
    return escape(f"{name} version {found.version}: validation AUC {auc:.3f}. {found.tags.get(registry.REASON, '')}")


def _said(run: TrackedRun | None, *metrics: str) -> Markdown:
    if run is None:
        return Markdown(_NONE)
    values = [f"{title_of(name)} {format_value(run.metrics[name])}" for name in metrics if name in run.metrics]
    return Markdown(f"{link(run.name, run.page)}: {escape(' · '.join(values))}")


def _drift(run: TrackedRun | None) -> Markdown:
    start = "drift/domain_auc_"
    found = {} if run is None else {name: value for name, value in run.metrics.items() if name.startswith(start)}
    plain = {name: value for name, value in found.items() if not name.endswith(("_ci_low", "_ci_high"))}
    return escape(", ".join(f"{name.removeprefix(start)} {value:.3f}" for name, value in plain.items()) or _NONE)
