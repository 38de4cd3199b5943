"""The page where one drops X-rays, as a person with a browser uses it: real servers, a worker, the flow `cases`."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from PIL import Image
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

from tests.conftest import CHECKOUT
from tests.e2e.browser import NARROW, choose, drop, fits, found, is_dark, needs_chromium, person
from tests.e2e.services import call, kill, process_of, running, service_environment

pytestmark = [pytest.mark.e2e, needs_chromium]
IMAGES = {"train": 300, "val": 120, "test": 40}
CLASSIFICATION = (
    "flows.classification", "--training.architecture", "compact28", "--training.epochs", "4",
    "--training.batch_size", "16", "--evaluation.label_folds", "0", "--evaluation.bootstrap_samples", "50",
    "--evaluation.explained_images", "4", "--evaluation.explanation_draws", "2", "--evaluation.failures", "1",
    "--evaluation.corrupted_images", "0",
)  # fmt: skip
RETRIEVAL = (
    "flows.retrieval", "--retrieval.encoders", "classifier", "--retrieval.classifier", "champion",
    "--retrieval.bootstrap_samples", "50", "--retrieval.galleries", "1", "--training.architecture", "compact28",
)  # fmt: skip
MINE = FlowRunFilter(tags=FlowRunFilterTags(all_=["page"]))
FOREIGN_SCRIPT = """async ([address, picture]) => {
  const body = JSON.stringify({ pictures: [picture] });
  const ways = [
    ["/uploads", { method: "PUT", body: "GIF89a" }],
    ["/runs", { method: "POST", body, headers: { "Content-Type": "application/json" } }],
    ["/runs", { method: "POST", body, mode: "no-cors" }],
    ["/", {}],
  ];
  const answers = [];
  for (const [path, way] of ways)
    answers.push(await fetch(address + path, way).then((answer) => answer.type, () => "refused"));
  return answers;
}"""
NO_PICTURE = b"%PDF-1.7\n% no picture, whatever it is called"


def png(levels, side=256):
    file = io.BytesIO()
    Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def images(official_file):
    with np.load(official_file) as arrays:
        return {name: array[: IMAGES[name.split("_")[0]]] for name, array in arrays.items()}


@pytest.fixture(scope="module")
def xray(images):
    return png(images["test_images"][0])


@pytest.fixture(scope="module")
def foreign():
    return png(np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8))


@pytest.fixture(scope="module")
def environment(tmp_path_factory, official_file):
    return service_environment(tmp_path_factory.mktemp("page") / "outputs", official_file.parent)


@pytest.fixture(scope="module")
def services(environment, server_logs):
    with running(environment, server_logs) as notes:
        yield notes


@pytest.fixture(scope="module")
def address(services, environment, images, tmp_path_factory):
    """The page's address, with a champion and an index over a small file, by which the deployment `cases` judges."""
    file = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(file, **images)
    with SyncPrefectClient(services["prefect_api"]) as client:
        for automation in client.read_automations():  # one has the index renewed once there is a champion
            client.pause_automation(automation.id)
    for words in (CLASSIFICATION, RETRIEVAL):
        command = [sys.executable, "-m", *words, "--dataset.path", str(file)]
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr
    with SyncPrefectClient(services["prefect_api"]) as client:
        known = client.read_deployment_by_name("cases/cases")
        client.update_deployment(known.id, DeploymentUpdate(parameters={"dataset": {"path": str(file)}}))
    return services["page"]


@pytest.fixture(scope="module")
def dropped(address, xray):
    """The address of the run of one X-ray that a person dropped, and what was read there."""
    with person(address) as page:
        drop(page, [("Müller's scan.png", xray)])
        shown = found(page)
        assert fits(page)
        assert not is_dark(page)
        return page.url, shown.inner_text("body")


def test_the_page_is_one_of_the_services(services, environment):
    assert services["page"] == f"http://127.0.0.1:{environment['PAGE_PORT']}"
    assert f"X-rays   {services['page']}" in services["printed"]


def test_an_x_ray_that_is_dropped_is_looked_at(dropped, services, environment):
    url, seen = dropped
    run = url.rsplit("/", 1)[-1]
    (case,) = json.loads(Path(environment["OUTPUTS"], "cases", run, "cases.json").read_text())
    assert case["name"] == "Muller_s_scan.png"
    assert f"{case['classification']['probability']:.2f}" in seen
    assert "Nearest labelled cases" in seen
    assert len(re.findall("^similarity", seen, re.MULTILINE)) == len(case["similar"][0]["hits"])
    assert "Research use only" in seen
    with SyncPrefectClient(services["prefect_api"]) as client:
        flow_run = client.read_flow_run(run)
    assert (flow_run.name, flow_run.state_name) == ("page: Muller_s_scan.png", "Completed")


def test_its_neighbours_and_files_can_be_opened(dropped, services):
    with person(services["page"]) as page:
        page.goto(dropped[0])
        shown = found(page)
        neighbours = shown.locator(".neighbours img")
        assert neighbours.count() >= 5
        assert neighbours.first.evaluate("image => image.complete && image.naturalWidth > 0")
        page.get_by_text("Files", exact=True).click()
        with page.expect_download() as download:
            page.get_by_role("link", name="cases.csv").click()
        assert "Muller_s_scan.png" in Path(download.value.path()).read_text()
        links = page.locator("header .links a").evaluate_all("links => links.map(link => link.href)")
    assert any(f"/runs/flow-run/{dropped[0].rsplit('/', 1)[-1]}" in link for link in links)
    assert any(link.startswith(services["mlflow"]) and "/runs/" in link for link in links)


def test_with_the_keyboard_alone_one_foreign_picture_is_flagged_and_one_bad_file_is_a_sentence(
    address, xray, foreign, tmp_path
):
    for name, content in (("noise.png", foreign), ("scan.png", xray[:-50]), ("report.png", NO_PICTURE)):
        (tmp_path / name).write_bytes(content)
    with person(address) as page:
        choose(page, "#files", sorted(tmp_path.iterdir()), "Enter")
        page.wait_for_selector("#problems li")
        sentences = page.locator("#problems li").all_inner_texts()
        assert len(sentences) == 2
        assert sentences[0].startswith("report.png is no image")
        assert sentences[1].startswith("scan.png")
        assert page.evaluate("document.activeElement.textContent") == "Look at the other one"
        page.keyboard.press("Enter")
        shown = found(page)
        assert "Foreign picture: not counted" in shown.inner_text("body")
        assert shown.locator(".probability s").count() == 1  # struck out
        assert page.locator("#problems li").count() == 2
        assert page.inner_text("h1") == "1 picture, foreign"


def test_a_bad_file_alone_starts_nothing(address, services):
    with SyncPrefectClient(services["prefect_api"]) as client:
        before = len(client.read_flow_runs(flow_run_filter=MINE))
        with person(address) as page:
            drop(page, [("scan.png", NO_PICTURE)])
            page.wait_for_selector("#problems li")
            assert page.locator("#others").is_hidden()
            assert urlsplit(page.url).path == "/"
        assert len(client.read_flow_runs(flow_run_filter=MINE)) == before


def test_on_a_phone_and_in_the_dark(dropped, services):
    with person(services["page"]) as page:
        page.set_viewport_size(NARROW)
        page.emulate_media(color_scheme="dark")
        for address in (services["page"], dropped[0]):
            page.goto(address)
            if address != services["page"]:
                found(page)
            assert fits(page)
            assert is_dark(page)


def test_earlier_runs_are_listed(dropped, services):
    with person(services["page"]) as page:
        page.locator(f'.runs a[href="{urlsplit(dropped[0]).path}"]').click()
        page.wait_for_url(dropped[0])


def test_another_site_cannot_use_it_through_a_persons_browser(address, services, environment, xray):
    def uploads():
        return sorted(Path(environment["OUTPUTS"], "uploads").rglob("*"))

    before = uploads()
    picture = f"{before[-1].parent.name}/{before[-1].name}"  # that another site may have guessed
    with SyncPrefectClient(services["prefect_api"]) as client, person(address) as page:
        runs = len(client.read_flow_runs(flow_run_filter=MINE))
        other = page.context.browser.new_page()
        other.goto(f"{services['mlflow']}/health")  # no policy of its own keeps a script there from anything
        answers = other.evaluate(FOREIGN_SCRIPT, [address, picture])
        assert answers == ["refused"] * 4
        assert uploads() == before
        assert len(client.read_flow_runs(flow_run_filter=MINE)) == runs


def test_what_has_died_is_started_again_at_its_old_address(services, environment):
    outputs = Path(environment["OUTPUTS"])
    kill("page", outputs)
    done = call("up", environment | {"PAGE_PORT": "1"})
    assert done.returncode == 0, done.stderr
    assert "What had died was started again: page." in done.stdout
    assert services["page"] in done.stdout
    listening = [each.laddr for each in process_of("page", outputs).net_connections("tcp") if each.status == "LISTEN"]
    assert [(each.ip, each.port) for each in listening] == [("127.0.0.1", int(environment["PAGE_PORT"]))]
    assert psutil.Process(process_of("page", outputs).pid).memory_info().rss < 1 << 30
