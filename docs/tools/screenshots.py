"""Pictures of the running services for the documentation: `python -m docs.tools.screenshots FOLDER`.

They show the newest runs, so run the pipeline twice before, with another seed for instance. It needs Chromium, which
`playwright install chromium` brings where the system has none.
"""

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Error, Page, TimeoutError, sync_playwright
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    ArtifactFilterType,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from deployments.page.products import newest
from docs.tools.overview import overview
from models.errors import InputError
from tasks.shared.png import with_few_colors
from tasks.storage.locations import environment, noted_services, outputs
from tasks.tracking.pages import FIGURES, LEADERBOARD, run_page, view_page

_EXPERIMENT = "pneumonia/classification"
_COMPARED = 3
_VIEW = "workflowType=machine_learning"  # MLflow opens in its view for language models else
_WIDTH = 1280
_PATIENCE = 60_000  # milliseconds
_SETTLE = 2_000
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main(folder: Path) -> None:
    """Take all pictures.

    Args:
        folder: where they go.

    Raises:
        InputError: the services do not answer, there are too few runs, or there is no Chromium.
    """
    os.environ.update(environment())
    services = os.environ
    if not {"PREFECT_API_URL", "MLFLOW_TRACKING_URI"} <= services.keys():
        raise InputError("the services are not up: start them with `make up`, run the pipeline twice, and try again.")
    api, mlflow = services["PREFECT_API_URL"], services["MLFLOW_TRACKING_URI"]
    prefect = f"{api.removesuffix('/api')}/v2"
    folder.mkdir(parents=True, exist_ok=True)

    with SyncPrefectClient(api) as client:
        run = _newest(client)
        report = _report(client, run)
        deployment = client.read_deployment_by_name("pipeline/pipeline-quickstart").id
        start = _overview(client)
    experiment, runs = _tracked(mlflow)

    with opened_page() as page:

        def picture(
            name: str,
            height: int,
            address: str,
            text: str,
            prepare: Callable[[Page], None] | None = None,
            width: int = _WIDTH,
        ) -> None:
            page.set_viewport_size({"width": width, "height": height})
            show(page, address, text)
            if prepare:
                prepare(page)
            (folder / f"{name}.png").write_bytes(with_few_colors(page.screenshot()))
            sys.stdout.write(f"{folder / name}.png\n")

        picture("prefect_form", 1300, f"{prefect}/deployments/deployment/{deployment}/run", "Architecture")
        picture("prefect_overview", 700, f"{prefect}/artifacts/artifact/{start}", "Where to look")
        picture("prefect", 820, f"{prefect}/runs/flow-run/{run.id}?tab=Artifacts", "Test AUC")
        picture("prefect_report", 960, f"{prefect}/artifacts/artifact/{report}", "Research use only", _show_figures)
        picture("mlflow_run", 860, run_page(experiment, runs[0]), "About this run", _close_assistant)
        picture("mlflow", 560, view_page(experiment, LEADERBOARD), "pneumoniamnist")
        picture(
            "mlflow_figures", 1180, view_page(experiment, FIGURES), "Side by side", width=1440
        )  # two beside another
        compared = f"runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment]))}&{_VIEW}"
        picture("mlflow_comparison", 870, f"{mlflow}/#/compare-runs?{compared}", "Comparing", _show_differences)
        page.set_viewport_size({"width": _WIDTH, "height": 1180})
        show(page, _dropped(), "to print")
        Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(folder / "cases_page.jpg", quality=75)
        sys.stdout.write(f"{folder / 'cases_page.jpg'}\n")
    overview(mlflow).save(folder / "overview.jpg", quality=70, optimize=True, progressive=True)
    sys.stdout.write(f"{folder / 'overview.jpg'}\n")


@contextlib.contextmanager
def opened_page() -> Iterator[Page]:
    """Open one page in a headless Chromium: the system's, else Playwright's own.

    Raises:
        InputError: there is none.
    """
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    with sync_playwright() as playwright:
        try:
            # Chromium refuses to start for root with its sandbox.
            browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=os.geteuid() != 0)
        except Error as error:
            raise InputError("no Chromium starts: install it, or run `playwright install chromium`.") from error
        page = browser.new_page()
        page.set_default_timeout(_PATIENCE)
        yield page
        browser.close()


def show(page: Page, address: str, text: str) -> None:
    """Go to an address and wait until a text is there to read and nothing more is loaded.

    Raises:
        InputError: it is not there within a minute.
    """
    page.goto("about:blank")  # a page that only looks at `#…` would not start anew
    page.goto(address)
    try:
        page.wait_for_function("text => document.body.innerText.includes(text)", arg=text)
    except TimeoutError as error:
        raise InputError(
            f"{address} did not show “{text}” within {_PATIENCE // 1000} s: open it and look why."
        ) from error
    page.wait_for_timeout(_SETTLE)


def _newest(client: SyncPrefectClient) -> FlowRun:
    completed = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))
    found = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["classification"])),
        flow_run_filter=FlowRunFilter(state=completed),
        sort=FlowRunSort.START_TIME_DESC,
        limit=1,
    )
    if not found:
        raise InputError(f"{client.api_url} has no completed classification run to show: run the pipeline.")
    return found[0]


def _report(client: SyncPrefectClient, run: FlowRun) -> str:
    """Return the id of the report that a classification run shows."""
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(type=ArtifactFilterType(any_=["markdown"])),
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
    )
    if not found:
        raise InputError(f"the run {run.name} has no report to show: run the pipeline anew.")
    return str(found[0].id)


def _dropped() -> str:
    """Return the address at which the page for one's own X-rays shows what the last run of `cases` found."""
    found = newest(outputs() / "cases", 1)
    if not found:
        raise InputError("there is no picture of one's own to show: drop one on the page that `make up` prints.")
    return f"{noted_services()['page']}/runs/{found[0].run}"


def _overview(client: SyncPrefectClient) -> str:
    """Return the id of the start page."""
    found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["overview"])))
    if not found:
        raise InputError("there is no start page to show: run the pipeline anew.")
    return str(found[0].id)


def _tracked(mlflow: str) -> tuple[str, list[str]]:
    """Return MLflow's experiment of classifications and its newest finished runs."""
    client = MlflowClient(mlflow)
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    finished = "attributes.status = 'FINISHED'"
    found = client.search_runs([experiment.experiment_id], finished, max_results=_COMPARED) if experiment else []
    if experiment is None or len(found) < 2:
        raise InputError(f"{mlflow} has not two finished runs in {_EXPERIMENT} to compare: run the pipeline twice.")
    return experiment.experiment_id, [run.info.run_id for run in found]


def _show_figures(page: Page) -> None:
    """Scroll a report to the first of its figures."""
    page.locator('img[src^="data:image"]').first.evaluate("image => image.scrollIntoView()")
    page.wait_for_timeout(_SETTLE)


def _close_assistant(page: Page) -> None:
    """Close the panel that MLflow opens by itself, once for all pages."""
    page.get_by_role("button", name="Close", exact=True).first.click()
    page.wait_for_timeout(_SETTLE)


def _show_differences(page: Page) -> None:
    """Fold up what is no comparison, leave the params that differ, and scroll the metrics to those of test."""
    for label in ("Visualizations", "Run details"):
        page.get_by_role("button", name=label, exact=True).first.click()
    page.get_by_label("Parameters - Show diff only", exact=True).first.click()
    page.wait_for_timeout(_SETTLE)
    page.evaluate(
        # The list of names follows the one of values, the last, one step late: hence a last step of one pixel.
        "(async () => { for (let top = 0; top < 20000; top += 45) {"
        "const lists = [...document.querySelectorAll('.ReactVirtualized__Grid')];"
        "const wanted = [...lists[0].querySelectorAll('a')].find(each => each.innerText.trim() === 'test/accuracy');"
        "const found = wanted?.getBoundingClientRect().top < lists[0].getBoundingClientRect().top + 90;"
        "lists.at(-1).scrollTop = found ? lists.at(-1).scrollTop + 1 : top;"
        "if (found) break;"
        "await new Promise(done => setTimeout(done, 100)); } })()"
    )
    page.wait_for_timeout(_SETTLE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.stderr.write("error: usage: python -m docs.tools.screenshots FOLDER\n")
        raise SystemExit(2)
    try:
        main(Path(sys.argv[1]))
    except InputError as mistake:
        sys.stderr.write(f"error: {mistake}\n")
        raise SystemExit(2) from None
