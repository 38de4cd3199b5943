"""Every page that matters, at a desk and on a phone, light and dark: `python -m docs.tools.screens FOLDER [WORD …]`.

To be looked at one by one after a change of what runs show. They show the newest runs of the running services. With
words, only the pages are taken whose name has one of them in it.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from mlflow import MlflowClient
from playwright.sync_api import Page
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterType,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from docs.tools.screenshots import opened_page, show
from models.errors import InputError
from tasks.storage.locations import OVERVIEW, environment
from tasks.tracking.pages import FIGURES, LEADERBOARD, run_page, view_page

SIZES = {"desk": (1440, 900), "phone": (390, 844)}
LOOKS: tuple[tuple[str, Literal["light", "dark"]], ...] = (
    ("desk", "light"),
    ("phone", "dark"),
    ("desk", "dark"),
    ("phone", "light"),
)
STAGES = {  # the flow whose run has the page, and the stage, whose name is that of its experiment
    "pipeline": "pipeline",
    "classification": "classification",
    "retrieval-with-encoder": "retrieval",
    "reports-from-evidence": "reports",
}
_HIGH, _HIGHEST = 3_000, 12_000  # pixels: of pages that draw themselves, and of text with pictures
_MODEL = "pneumonia-classifier"
_HEIGHT = "Math.max(...[...document.querySelectorAll('*')].map(each => each.scrollHeight))"
_DARK_IN_MLFLOW = "_mlflow_dark_mode_toggle_enabled"
_NO_ASSISTANT = {"mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true", "mlflow.assistant.panelOpen_v1": "false"}


def main(folder: Path, words: Sequence[str] = ()) -> None:
    """Take all pictures.

    Args:
        folder: where they go, as `<page>-<size>-<colours>.png`.
        words: take only pages with one of them in their name.

    Raises:
        InputError: the services do not answer, or have no run to show.
    """
    os.environ.update(environment())
    if not {"PREFECT_API_URL", "MLFLOW_TRACKING_URI"} <= os.environ.keys():
        raise InputError("the services are not up: start them with `make up`, run the pipeline twice, and try again.")
    folder.mkdir(parents=True, exist_ok=True)
    pages = in_prefect(os.environ["PREFECT_API_URL"]) | in_mlflow(os.environ["MLFLOW_TRACKING_URI"])
    chosen = {name: at for name, at in pages.items() if not words or any(word in name for word in words)}
    for size, colours in LOOKS:
        width, height = SIZES[size]
        with opened_page() as page:
            page.emulate_media(color_scheme=colours)
            settings = _NO_ASSISTANT | {_DARK_IN_MLFLOW: json.dumps(colours == "dark")}
            for key, value in settings.items():
                page.add_init_script(f"try {{ localStorage.setItem({key!r}, {value!r}) }} catch {{}}")
            for name, (address, text) in chosen.items():
                page.set_viewport_size({"width": width, "height": height})
                show(page, address, text)
                _unfold(page, width, height, _HIGHEST if name.endswith("page") else _HIGH)
                page.screenshot(path=folder / f"{name}-{size}-{colours}.png")
                sys.stdout.write(f"{name}-{size}-{colours}.png\n")
                sys.stdout.flush()


def in_prefect(api: str) -> dict[str, tuple[str, str]]:
    """Name the pages of Prefect, each with its address and a text that is there once it is loaded."""
    ui = f"{api.removesuffix('/api')}/v2"
    with SyncPrefectClient(api) as client:
        form = client.read_deployment_by_name("pipeline/pipeline-quickstart").id
        pages = {
            "prefect-dashboard": (f"{ui}/dashboard", "Flow Runs"),
            "prefect-runs": (f"{ui}/runs", "pipeline"),
            "prefect-flows": (f"{ui}/flows", "retrieval"),
            "prefect-deployments": (f"{ui}/deployments", "pipeline-quickstart"),
            "prefect-deployment": (f"{ui}/deployments/deployment/{form}", "Description"),
            "prefect-form": (f"{ui}/deployments/deployment/{form}/run", "Architecture"),
            "prefect-automations": (f"{ui}/automations", "Alert"),
            "prefect-artifacts": (f"{ui}/artifacts", "overview"),
        }
        written = {str(artifact.key): artifact for artifact in client.read_artifacts(limit=200)}
        for key, text in ((OVERVIEW, "Where to look"), ("alerts", "")):
            if key in written:
                pages[f"prefect-{key}"] = (f"{ui}/artifacts/artifact/{written[key].id}", text)
        for flow, stage in STAGES.items():
            completed = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))
            found = client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
                flow_run_filter=FlowRunFilter(state=completed),
                sort=FlowRunSort.START_TIME_DESC,
                limit=1,
            )
            if not found:
                raise InputError(f"{api} has no completed run of {flow} to show: run the pipeline.")
            (run,) = found
            pages[f"prefect-{stage}-run"] = (f"{ui}/runs/flow-run/{run.id}?tab=Artifacts", "Artifacts")
            documents = client.read_artifacts(
                artifact_filter=ArtifactFilter(type=ArtifactFilterType(any_=["markdown"])),
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
            )
            for document in documents[:1]:
                pages[f"prefect-{stage}-page"] = (f"{ui}/artifacts/artifact/{document.id}", "Research use only")
    return pages


def in_mlflow(server: str) -> dict[str, tuple[str, str]]:
    """Name the pages of MLflow, each with its address and a text that is there once it is loaded."""
    client = MlflowClient(server)
    pages: dict[str, tuple[str, str]] = {}
    for stage in STAGES.values():
        experiment = client.get_experiment_by_name(f"pneumonia/{stage}")
        found = experiment and client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'")
        if not experiment or not found:
            raise InputError(f"{server} has no finished run in pneumonia/{stage} to show: run the pipeline.")
        identity, run = experiment.experiment_id, found[0].info
        pages[f"mlflow-{stage}-leaderboard"] = (view_page(identity, LEADERBOARD), str(run.run_name))
        pages[f"mlflow-{stage}-figures"] = (view_page(identity, FIGURES), "Side by side")
        pages[f"mlflow-{stage}-run"] = (run_page(identity, run.run_id), "About this run")
        paths = {file.path for at in (None, "cases") for file in client.list_artifacts(run.run_id, at)}
        for path in ("report.html", "map.html", "cases/index.html"):
            if path in paths:
                name = f"mlflow-{stage}-{path.removesuffix('.html').replace('/', '-')}"
                pages[name] = (run_page(identity, run.run_id, path), path.rpartition("/")[2])
        if stage == "classification" and len(found) > 1:
            options = {"runs": [each.info.run_id for each in found[:2]], "experiments": [identity]}
            query = "&".join(f"{key}={quote(json.dumps(value))}" for key, value in options.items())
            pages["mlflow-compare"] = (f"{server}/#/compare-runs?{query}&workflowType=machine_learning", "Comparing")
    newest = max(int(each.version) for each in client.search_model_versions(f"name = '{_MODEL}'"))
    pages["mlflow-registry"] = (f"{server}/#/models/{_MODEL}?workflowType=machine_learning", "Versions")
    pages["mlflow-version"] = (f"{server}/#/models/{_MODEL}/versions/{newest}?workflowType=machine_learning", "Tags")
    return pages


def _unfold(page: Page, width: int, height: int, highest: int) -> None:
    """Make the page so high that all of it is seen, frames within it too, up to a height."""
    for _ in range(3):  # what is drawn late makes it higher
        wanted = max(int(frame.evaluate(_HEIGHT)) for frame in page.frames)
        within = 220 if len(page.frames) > 1 else 0  # what stands above a frame
        found = min(max(wanted + within, height), highest)
        if found == height:
            return
        height = found
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(1_500)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.stderr.write("error: usage: python -m docs.tools.screens FOLDER [WORD …]\n")
        raise SystemExit(2)
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except InputError as mistake:
        sys.stderr.write(f"error: {mistake}\n")
        raise SystemExit(2) from None
