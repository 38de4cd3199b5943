"""MLflow runs: opened, written and closed by explicit run id. What is logged is decided elsewhere.

A flow run owns one MLflow run, found again by its tag when the flow run is retried, so that nothing is logged twice:
params and tags keep their values, metrics carry the time at which they were measured, and artifacts are overwritten.
"""

import contextlib
import functools
import getpass
import http.client
import io
import json
import logging
import os
import platform
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from prefect.exceptions import MissingContextError, TerminationSignal
from prefect.logging import get_run_logger
from prefect.runtime import flow_run as this_flow_run
from pydantic import BaseModel

from models.errors import InputError
from models.markdown import escape, link
from models.notices import RESEARCH_NOTICE
from models.text import one_line, printable
from tasks.execution.server import flow_run_page
from tasks.execution.termination import asked_for
from tasks.records.base import Point, RunReference, StoredFile
from tasks.storage.database_servers import require_database
from tasks.storage.disks import disk_error
from tasks.storage.locations import locks, outputs, tracking_artifacts, tracking_uri
from tasks.storage.process_identity import process_identity
from tasks.storage.store import Store
from tasks.storage.temporary_files import temporary_folder
from tasks.tracking.busy_database import wait_for_others
from tasks.tracking.pages import FIGURES, LEADERBOARD, run_page, view_page
from tasks.tracking.relocation import follow_the_move
from tasks.tracking.tables import make_tables
from tasks.tracking.views import LEADERBOARDS, TAG, figure_view, is_outdated, leaderboard

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENTS = {
    "pneumonia/pipeline": "Whole runs, with the metrics that count; the stages' own runs are their children.",
    "pneumonia/classification": "Classifiers: one run per training, with the version that it registered.",
    "pneumonia/sweep": "Comparisons of trainings by validation; the trainings are in pneumonia/classification.",
    "pneumonia/retrieval": "The search for similar cases: one run per encoder.",
    "pneumonia/reports": "Reports and their audit: one run per generator, with a page of all cases.",
    "pneumonia/cases": "People's own pictures: one run each, with a page and a table of all of them.",
}
"""What each experiment holds, by its name."""
_FORMER_NOTES = {
    *EXPERIMENTS.values(),
    "Whole runs, with the metrics of all stages; the stages' own runs are their children.",
}
"""Descriptions of experiments before they linked the views."""
_FLOW_RUN, _HOST, _PROCESS = "prefect.flow_run_id", "process.host", "process.id"
_SAMPLING_SECONDS = 5
_LONGEST_NAME = 250  # of a run, in the databases of MLflow
_ANSWER_SECONDS = 3
_SIDE_BY_SIDE = 500  # pixels: two pictures beside each other on a page of 1440
_LINKS = "\n\nIn MLflow: "  # begins the last paragraph of a run's description
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


class PrunedError(Exception):
    """Ends a run early on purpose: no error, and no result."""


@contextlib.contextmanager
def tracked_run(stage: str, parameters: Mapping[str, BaseModel]) -> Iterator[RunReference]:
    """Open the MLflow run of the current flow run and close it with a status that is true.

    Args:
        stage: last part of the experiment's name.
        parameters: the forms of the flow, logged as params.

    Yields:
        The reference by which steps and the functions of this module address the run.

    Raises:
        InputError: somebody deleted the run meanwhile.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    client, status, monitor, run = new_client(), "FAILED", None, None
    _close_abandoned_runs(client)
    try:
        run = RunReference(run_id=_open(client, stage))
        forms = {name: form.model_dump(mode="json") for name, form in parameters.items()}
        log_params(run, {f"{name}.{field}": value for name, form in forms.items() for field, value in form.items()})
        monitor = SystemMetricsMonitor(run.run_id, sampling_interval=_SAMPLING_SECONDS, tracking_uri=tracking_uri())
        monitor.start()
        yield run
        status = "FINISHED"
    except BaseException as error:
        # MLflow calls a pruned trial of Optuna killed.
        if asked_for() or isinstance(error, KeyboardInterrupt | SystemExit | TerminationSignal | PrunedError):
            status = "KILLED"
        if run is not None and isinstance(error, MlflowException) and _is_deleted(client, run):
            raise InputError(
                f"The MLflow run {run.run_id} or its experiment was deleted in MLflow while it went on: run again, "
                "which logs a new one. What was finished is kept."
            ) from error
        raise
    finally:
        if monitor is not None:
            monitor.finish()
        for run_id in _runs_of_flow_run(client, str(this_flow_run.id)):  # also where it was interrupted as it opened
            client.set_terminated(run_id, status)


def _is_deleted(client: "MlflowClient", run: RunReference) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run.run_id).info.lifecycle_stage != "active")
    except MlflowException as error:  # for good, where it is not only that nobody answers
        return error.error_code == "RESOURCE_DOES_NOT_EXIST"


def log_metrics(run: RunReference, metrics: Mapping[str, float]) -> None:
    """Log final metrics; values that are not finite are left out, since MLflow's pages cannot show them."""
    # The start of the run is the one time that a retry repeats exactly, so that a metric is not logged twice.
    moment = new_client().get_run(run.run_id).info.start_time
    log_points(run, [Point(name, value, 0, moment) for name, value in metrics.items() if abs(value) < float("inf")])


def log_points(run: RunReference, points: Sequence[Point]) -> None:
    """Log points of curves; those that the run has already are not logged twice."""
    from mlflow.entities import Metric

    metrics = [Metric(point.name, float(point.value), point.moment, point.step) for point in points]
    for first in range(0, len(metrics), 900):  # MLflow takes 1000 per request
        new_client().log_batch(run.run_id, metrics=metrics[first : first + 900])


def log_params(run: RunReference, params: Mapping[str, Any]) -> None:
    """Log params, by which runs are compared; one that the run has already keeps its value.

    Of a path or name that would steer a terminal they hold what is shown of it; Prefect keeps the form as it was given.
    """
    from mlflow.entities import Param

    shown = {name: str(value) for name, value in params.items()}
    shown |= {name: one_line(text) for name, text in shown.items() if not text.isprintable()}
    new_client().log_batch(run.run_id, params=[Param(*param) for param in shown.items()])


def log_dataset(
    run: RunReference,
    name: str,
    digest: str,
    *,
    kind: str,
    source: Mapping[str, Any],
    profile: Mapping[str, Any],
    context: str,
) -> None:
    """Log which data a run uses.

    MLflow knows a dataset by its name and digest and keeps the first profile of these, so that both must name the
    images of this run and no others.

    Args:
        run: the run.
        name: what the page of the run calls the data.
        digest: of their content.
        kind: what their source is.
        source: where they come from, as JSON.
        profile: what is in them, as JSON.
        context: what they are used for: `training`, `evaluation`.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entity = Dataset(name, digest, source_type=kind, source=json.dumps(source), profile=json.dumps(profile))
    new_client().log_inputs(run.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])


def log_tags(run: RunReference, tags: Mapping[str, str]) -> None:
    """Say something of a run in tags, replacing those of the same names."""
    client = new_client()
    for name, value in tags.items():
        client.set_tag(run.run_id, name, value)


def log_files(run: RunReference, files: Mapping[str, StoredFile]) -> None:
    """Log stored files as artifacts.

    Args:
        run: the run.
        files: stored file by artifact path, `figures/roc_curve.png` for instance.
    """
    store = Store()
    _log_contents(run, ((path, store.get(stored)) for path, stored in files.items()))


def _log_contents(run: RunReference, contents: Iterable[tuple[str, bytes]]) -> None:
    with temporary_folder(outputs()) as folder:
        for name, content in contents:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        new_client().log_artifacts(run.run_id, str(folder))


def log_images(run: RunReference, figures: Mapping[str, StoredFile]) -> None:
    """Log figures once more, in the form that MLflow puts side by side for several runs, and save a view of them.

    MLflow takes a file for an image by its name, and wants two: one that is shown beside those of other runs, and one
    that is shown when that is pressed. Its own `log_image` gives them long names with a moment and an identity in them,
    logs them anew on a retry, and shows them in a size in which no figure can be read.

    Args:
        run: the run.
        figures: PNG by title.
    """
    client = new_client()
    store = Store()
    for title, png in figures.items():
        picture = store.get(png)
        large, small = image_paths(title)
        _log_contents(run, ((large, picture), (small, _narrow(picture))))
    client.set_tag(run.run_id, "mlflow.loggedImages", "True")
    experiment = client.get_experiment(experiment_of(run))
    if is_outdated(experiment.tags.get(TAG + FIGURES)):
        columns = LEADERBOARDS.get(experiment.name.rpartition("/")[2])
        view = figure_view(list(figures), columns.metrics if columns else ())
        _set_experiment_tag(client, experiment.experiment_id, TAG + FIGURES, view)


def image_paths(title: str) -> tuple[str, str]:
    """Return the paths under which MLflow's pages find a figure: as large as it is, and as it is shown beside others.

    Args:
        title: of the figure.
    """
    name = f"images/{title}+step+0+timestamp+0"
    return f"{name}.png", f"{name}+compressed.webp"


def _narrow(png: bytes) -> bytes:
    """Make a picture of which two stand side by side on a page, as WebP."""
    from PIL import Image

    picture, narrow = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    if picture.width > _SIDE_BY_SIDE:
        picture = picture.resize(
            (_SIDE_BY_SIDE, round(picture.height * _SIDE_BY_SIDE / picture.width)), Image.Resampling.LANCZOS
        )
    # Lossless at any value of these, which say how long to look for fewer bytes: half the time for a fifth more.
    picture.save(narrow, "WEBP", lossless=True, method=1, quality=20)
    return narrow.getvalue()


def log_links(run: RunReference, links: Mapping[str, str]) -> None:
    """Name pages of MLflow in the description of a run, in place of those that were named before.

    Args:
        run: the run.
        links: address by what is said of it; `place_of` gives such addresses.
    """
    client, note = new_client(), "mlflow.note.content"
    before = client.get_run(run.run_id).data.tags.get(note, "").partition(_LINKS)[0]
    named = " · ".join(f"[{escape(label)}]({address})" for label, address in links.items())
    client.set_tag(run.run_id, note, f"{before}{_LINKS}{named}")


def log_table(run: RunReference, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Log a table that MLflow's pages show as such, replacing one of the same name.

    Args:
        run: the run.
        name: artifact path, ending in `.json`.
        columns: titles.
        rows: JSON values, as many a row as there are columns.
    """
    client = new_client()
    table = json.dumps({"columns": list(columns), "data": [list(row) for row in rows]}, indent=2)
    _log_contents(run, [(name, table.encode())])
    tag = "mlflow.loggedArtifacts"  # what MLflow's own log_table sets; that function appends on a retry
    known = json.loads(client.get_run(run.run_id).data.tags.get(tag, "[]"))
    entry = {"path": name, "type": "table"}
    if entry not in known:
        client.set_tag(run.run_id, tag, json.dumps([*known, entry]))


def page_of(run: RunReference) -> str:
    """Return the address of a run in MLflow's pages."""
    return run_page(experiment_of(run), run.run_id)


def leaderboard_page(stage: str) -> str:
    """Return the address of the leaderboard of a stage's runs, with its experiment made."""
    client = new_client()
    return view_page(experiment_id(client, f"pneumonia/{stage}"), LEADERBOARD)


def place_of(run: RunReference, artifact: str = "") -> str:
    """Return the address of a run, or of a file of it, for a link in MLflow's own pages."""
    return run_page(experiment_of(run), run.run_id, artifact, within=True)


def page_of_file(run: RunReference, path: str) -> str:
    """Return the address of a file of a run in MLflow's pages."""
    return run_page(experiment_of(run), run.run_id, path)


def experiment_of(run: RunReference) -> str:
    """Return the id of a run's experiment, which never changes: it is asked for once, not for each link of a page."""
    return _experiment_of(tracking_uri(), run.run_id)


@functools.lru_cache(maxsize=256)
def _experiment_of(_uri: str, run_id: str) -> str:
    return str(new_client().get_run(run_id).info.experiment_id)


def require_tracker() -> None:
    """Refuse, before anything is computed, a tracker that cannot be used or that does not answer.

    MLflow itself would ask one that does not answer for minutes.

    Raises:
        InputError: one of the addresses is of another kind, or nothing, or no MLflow server, answers.
    """
    for variable, uri in (("MLFLOW_TRACKING_URI", tracking_uri()), ("MLFLOW_REGISTRY_URI", _registry_uri())):
        kind = uri.partition("://")[0].partition("+")[0].lower() if "://" in uri else ""
        shown = f"{variable}=" + printable(uri.partition("?")[0])  # what follows may be a secret
        if kind not in ("http", "https", *_DATABASES):
            raise InputError(
                f"{shown} is no place for runs, as a folder or Databricks is none here: give the http:// address of an "
                "MLflow server or a database such as sqlite:////where/mlflow.db, or unset it."
            )
        if kind in _DATABASES:
            require_database(uri, variable)
        else:
            _require_answer(uri, shown)


def _registry_uri() -> str:
    return os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri()


def _require_answer(uri: str, shown: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_ANSWER_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):  # a login is asked for, and given later
            raise InputError(
                f"{shown} is no MLflow server (it answers {error.code} to /health): mend it, or unset it."
            ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = printable(getattr(error, "reason", error))
        raise InputError(f"{shown} does not answer ({reason}): start it (`make up`), or unset it.") from error


def prepare() -> None:
    """Make the schema and the experiments, once a process; it is done by the first use too.

    Raises:
        InputError: the tracker cannot be used.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    if tracking_uri() in _prepared:
        return
    try:
        _prepare(tracking_uri())
    except (MlflowException, SQLAlchemyError) as error:
        full = disk_error(error)
        if full is not None:
            raise full from error
        shown = printable(tracking_uri())
        if "out-of-date database schema" in str(error):
            raise InputError(
                f"The database of MLflow at {shown} is of another version than this one: `make upgrade` brings an "
                "earlier one here, after a backup."
            ) from error
        raise InputError(f"MLflow at {shown} cannot be used: {printable(error, 180)}") from error
    _prepared.add(tracking_uri())


_prepared: set[str] = set()


def under_way() -> list[str]:
    """Return the names of the runs that say RUNNING, once those are closed whose process on this machine is gone."""
    client = new_client()
    _close_abandoned_runs(client)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = client.search_runs(experiments, "attributes.status = 'RUNNING'", max_results=200)
    return [str(run.info.run_name) for run in running]


def new_client() -> "MlflowClient":
    """Return a client of the tracker, with its schema and experiments made."""
    from mlflow import MlflowClient

    prepare()
    return MlflowClient(tracking_uri())


def _prepare(uri: str) -> None:
    from mlflow import MlflowClient

    locks().mkdir(parents=True, exist_ok=True)
    with FileLock(locks() / "mlflow.lock"):  # two first starts at once would both migrate the schema
        follow_the_move()
        wait_for_others()
        if uri == f"sqlite:///{outputs() / 'mlflow.db'}":
            make_tables()
        client = MlflowClient(uri)
        for name in EXPERIMENTS:
            _furnish(client, experiment_id(client, name), name)


def _furnish(client: "MlflowClient", experiment: str, name: str) -> None:
    """Save the leaderboard of an experiment and link the views in its description, unless a person wrote another."""
    tags, note = client.get_experiment(experiment).tags, "mlflow.note.content"
    links = {"Leaderboard": LEADERBOARD, "Figures side by side": FIGURES}
    named = " · ".join(f"[{label}]({view_page(experiment, view, within=True)})" for label, view in links.items())
    wanted = f"{named}. {EXPERIMENTS[name]}"
    if tags.get(note) is None or (tags[note] != wanted and tags[note] in _FORMER_NOTES):
        _set_experiment_tag(client, experiment, note, wanted)
    if is_outdated(tags.get(TAG + LEADERBOARD)):
        view = leaderboard(LEADERBOARDS[name.rpartition("/")[2]])
        _set_experiment_tag(client, experiment, TAG + LEADERBOARD, view)


def _set_experiment_tag(client: "MlflowClient", experiment: str, tag: str, value: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.set_experiment_tag(experiment, tag, value)
    except MlflowException:
        if tag not in client.get_experiment(experiment).tags:  # else another run has set it meanwhile
            raise


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Return the id of an experiment, made where it is missing and restored where somebody has deleted it.

    A deleted experiment keeps its name, so that none can be made in its place, and takes no runs.

    Args:
        client: the client.
        name: one of `EXPERIMENTS`.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(
                client.create_experiment(
                    name,
                    artifact_location=f"{tracking_artifacts()}/{name}",
                    tags={
                        "mlflow.experimentKind": "custom_model_development",  # opens with runs, not traces
                    },
                )
            )
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:  # else it was made meanwhile through another machine
                raise
    if found.lifecycle_stage != "active":
        try:
            client.restore_experiment(found.experiment_id)
        except MlflowException:
            if client.get_experiment(found.experiment_id).lifecycle_stage != "active":  # else another run restored it
                raise
        _warn("The MLflow experiment %s had been deleted: it is restored with its runs, to log this one there.", name)
    return str(found.experiment_id)


def _warn(message: str, *values: object) -> None:
    """Log to the flow run; outside one there is no run logger."""
    try:
        get_run_logger().warning(message, *values)
    except MissingContextError:
        logging.getLogger(__name__).warning(message, *values)


def _open(client: "MlflowClient", stage: str) -> str:
    experiment = experiment_id(client, f"pneumonia/{stage}")
    flow_run_id = str(this_flow_run.id)
    known = _runs_of_flow_run(client, flow_run_id)
    prefect_url = flow_run_page(flow_run_id)
    tags = {
        _FLOW_RUN: flow_run_id,
        "prefect.flow_run_url": prefect_url,
        "mlflow.note.content": f"{RESEARCH_NOTICE}\n\nPrefect flow run: {link(this_flow_run.name, prefect_url)}",
        "mlflow.source.name": f"flows.{stage}",
        "mlflow.source.git.commit": _git_commit(),
        "mlflow.user": getpass.getuser(),
        _HOST: platform.node(),
        _PROCESS: process_identity(os.getpid()),
    }
    parents = _runs_of_flow_run(client, this_flow_run.parent_flow_run_id)
    if parents:
        tags["mlflow.parentRunId"] = parents[0]
    if known:
        run_id = known[0]
        client.update_run(run_id, status="RUNNING")
        for name, value in tags.items():
            client.set_tag(run_id, name, value)
    else:
        run = client.create_run(experiment, tags=tags, run_name=printable(this_flow_run.name, _LONGEST_NAME))
        run_id = run.info.run_id
    return str(run_id)


def _runs_of_flow_run(client: "MlflowClient", flow_run_id: str | None) -> list[str]:
    if flow_run_id is None:
        return []
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`{_FLOW_RUN}` = '{flow_run_id}'", max_results=1)
    return [run.info.run_id for run in runs]


def _close_abandoned_runs(client: "MlflowClient") -> None:
    """Mark runs as killed that say RUNNING though their process on this machine is gone."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = client.search_runs(
        experiments, f"attributes.status = 'RUNNING' and tags.`{_HOST}` = '{platform.node()}'", max_results=200
    )
    for run in running:
        identity = run.data.tags.get(_PROCESS, "")
        if identity != process_identity(int(identity.split("@")[0] or 0)):
            client.set_tag(run.info.run_id, "status.reason", "its process ended without closing the run")
            client.set_terminated(run.info.run_id, "KILLED")
            _warn("MLflow run %s was left running by a dead process.", run.info.run_id)


def _git_commit() -> str:
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
