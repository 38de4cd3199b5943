"""What MLflow's pages read of names and tags that nothing documents: `tracking/views.py`, `pages.py`, `log_images`.

Looked at in a browser, on a real server.
"""

import base64
import contextlib
import io
import os
import shutil
import subprocess
import sys
import urllib.request

import pytest
from PIL import Image

from docs.tools import screenshots
from tasks.records.base import RunReference
from tasks.reports.pages import case_pages
from tasks.shared.html_page import html_page
from tasks.shared.markdown import FOLDED, fold, table
from tasks.storage.locations import tracking_uri
from tasks.storage.store import Store
from tasks.tracking import runs
from tasks.tracking.pages import FIGURES, LEADERBOARD, run_page, view_page
from tests.conftest import CHECKOUT
from tests.e2e.services import wait_for
from tests.support.ports import free_port
from tests.tasks.reports.test_pages import answer, view

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not any(map(shutil.which, screenshots._PROGRAMS)), reason="needs Chromium"),
]


def _picture():
    png = io.BytesIO()
    Image.new("RGB", (1200, 900), "navy").save(png, "PNG")
    return png.getvalue()


@pytest.fixture(scope="module")
def logged(shared_outputs):
    """Two runs of classifiers, the better one logged first and with all that the pages show."""
    client, store = runs.new_client(), Store()
    experiment = client.get_experiment_by_name("pneumonia/classification").experiment_id
    made = []
    for auc in (0.9, 0.8):
        run = RunReference(run_id=client.create_run(experiment, run_name=f"run of {auc}").info.run_id)
        runs.log_metrics(run, {"val/auc": auc, "test/auc": auc, "system/cpu": 1.0})
        runs.log_params(run, {"training.seed": 0, "dataset.limit": 160})
        runs.log_images(run, {"roc_curve": store.put(_picture(), "image/png")})
        made.append(run.run_id)
    best = RunReference(run_id=made[0])
    cases = case_pages([view([answer("concise")])], source={}, phantoms=False, random_weights=False)
    rows = table(["name", "value"], [["row", number] for number in range(FOLDED + 1)])
    report = html_page(f"# The report\n\n## Section\n\n{rows}", {"roc curve": _picture()})
    inline = f"data:image/png;base64,{base64.b64encode(_picture()).decode()}"
    plain = f"# Plain\n\n{fold(rows)}\n![inline]({inline})\n"
    files = {"cases/index.html": cases["index.html"], "report.html": report, "report.md": plain}
    runs.log_files(best, {path: store.put(page.encode(), "text/html") for path, page in files.items()})
    runs.log_links(best, {"report with figures": runs.place_of(best, "report.html")})
    for run_id in made:
        client.set_terminated(run_id)
    return experiment, made


@pytest.fixture(scope="module")
def server(logged, server_logs, tmp_path_factory):
    log, port = tmp_path_factory.mktemp("mlflow") / "mlflow.log", free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", tracking_uri(),
    ]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server_logs.watch(log)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=os.environ | quiet, stdout=file, stderr=file, start_new_session=True
        )
    try:

        def answers():
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=60):
                return True

        wait_for(answers)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_UI_URL", address)
            yield address
    finally:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="module")
def page(server):
    with screenshots.opened_page() as opened:
        opened.set_viewport_size({"width": 1440, "height": 900})
        closed = {"mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true", "mlflow.assistant.panelOpen_v1": "false"}
        for key, value in closed.items():  # the panel that MLflow opens once, by itself
            opened.add_init_script(f"localStorage.setItem({key!r}, {value!r})")
        yield opened


def _frame(page):
    """The page of an artifact, in the frame in which MLflow shows it."""
    return page.frame_locator("iframe.mlflow-html-iframe, iframe[sandbox]")


def test_the_leaderboard_opens_sorted_with_its_columns(page, logged):
    screenshots.show(page, view_page(logged[0], LEADERBOARD), "run of 0.8")
    text = page.inner_text("body")
    assert text.index("run of 0.9") < text.index("run of 0.8")  # though it is the older one
    columns = page.evaluate(
        "[...document.querySelectorAll('.ag-header-cell')].map(each => each.getAttribute('col-id'))"
    )
    for wanted in (
        "metrics.`val/auc`", "metrics.`test/auc`", "params.`training.seed`", "params.`dataset.limit`",
        "attributes.`Dataset`", "duration",
    ):  # fmt: skip
        assert wanted in columns
    assert "Leaderboard" in text
    assert "Figures side by side" in text  # in the description of the experiment


def test_figures_open_as_pictures_wide_enough_to_read(page, logged):
    screenshots.show(page, view_page(logged[0], FIGURES), "roc_curve")
    page.wait_for_function("[...document.images].filter(each => each.naturalWidth === 500).length === 2")
    images = page.query_selector_all("img")
    places = [image.bounding_box() for image in images if image.evaluate("each => each.naturalWidth") == 500]
    assert [place["width"] for place in places] == [500, 500]
    assert places[0]["y"] == places[1]["y"]  # side by side
    headers = [header.inner_text().strip() for header in page.query_selector_all("[role=tab], [role=button]")]
    sections = [header.partition("\n(")[0] for header in headers if "\n(" in header]
    assert sections[:4] == ["Side by side", "Metrics", "val", "test"]
    assert "System metrics" in sections[4:]


def test_a_case_is_opened_on_the_page_of_cases_in_the_viewer(page, logged):
    page.goto("about:blank")
    page.goto(run_page(logged[0], logged[1][0], "cases/index.html"))
    frame = _frame(page)
    evidence = frame.get_by_text("Calibrated probability of pneumonia")
    assert not evidence.is_visible()
    frame.get_by_text("Case 12", exact=True).click()
    evidence.wait_for(state="visible")


def test_the_report_with_its_figures_is_one_click_from_the_run(page, logged, server):
    screenshots.show(page, run_page(logged[0], logged[1][0]), "report with figures")
    address = page.get_by_role("link", name="report with figures").get_attribute("href")
    page.goto("about:blank")
    page.goto(f"{server}/{address}")  # whether it opens a tab of its own is MLflow's to say
    frame = _frame(page)
    frame.get_by_text("The report").wait_for()
    assert frame.locator("img").evaluate("image => image.naturalWidth") == 1200
    assert not frame.get_by_role("cell", name="row").first.is_visible()
    frame.get_by_text(f"{FOLDED + 1} rows: name, value").click()
    frame.get_by_role("cell", name="row").first.wait_for(state="visible")
    assert "workflowType=machine_learning" in page.url


def test_markdown_is_shown_without_its_pictures_and_html(page, logged):
    """So the report is logged as HTML too, and its Markdown folds nothing and leads there."""
    page.goto("about:blank")
    page.goto(run_page(logged[0], logged[1][0], "report.md"))
    page.get_by_role("heading", name="Plain").wait_for()
    page.get_by_text("<details>").wait_for()
    assert page.locator("details").count() == 0
    assert page.get_by_alt_text("inline").evaluate("image => image.naturalWidth") == 0
