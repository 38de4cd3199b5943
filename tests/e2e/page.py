"""The page where one drops X-rays, as a person with a browser uses it: real servers, a worker, the flow `cases`.

For tests/e2e/test_services.py, which has the services, a client of Prefect's, and a run of the pipeline over a small
file, whose champion and index judge what is dropped.
"""

import io
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

from tests.e2e.browser import NARROW, choose, drop, fits, found, is_dark, needs_chromium, person
from tests.e2e.services import wait_for

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
def xray(images):
    return png(images["test_images"][0])


@pytest.fixture(scope="module")
def foreign():
    return png(np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8))


@pytest.fixture(scope="module")
def address(services, client, small, ended):
    """The page's address, once there are a champion and an index by which the deployment `cases` judges."""
    known = client.read_deployment_by_name("cases/cases")
    client.update_deployment(known.id, DeploymentUpdate(parameters={"dataset": {"path": str(small)}}))
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


@needs_chromium
def test_an_x_ray_that_is_dropped_is_looked_at(dropped, client, environment):
    url, seen = dropped
    run = url.rsplit("/", 1)[-1]
    (case,) = json.loads(Path(environment["OUTPUTS"], "cases", run, "cases.json").read_text())
    assert case["name"] == "Muller_s_scan.png"
    assert f"{case['classification']['probability']:.2f}" in seen
    assert "Nearest labelled cases" in seen
    assert len(re.findall("^similarity", seen, re.MULTILINE)) == len(case["similar"][0]["hits"])
    assert "Research use only" in seen
    wait_for(lambda: client.read_flow_run(run).state.is_final())
    flow_run = client.read_flow_run(run)
    assert (flow_run.name, flow_run.state_name) == ("page: Muller_s_scan.png", "Completed")


@needs_chromium
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


@needs_chromium
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


@needs_chromium
def test_a_bad_file_alone_starts_nothing(address, client):
    before = len(client.read_flow_runs(flow_run_filter=MINE))
    with person(address) as page:
        drop(page, [("scan.png", NO_PICTURE)])
        page.wait_for_selector("#problems li")
        assert page.locator("#others").is_hidden()
        assert urlsplit(page.url).path == "/"
    assert len(client.read_flow_runs(flow_run_filter=MINE)) == before


@needs_chromium
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


@needs_chromium
def test_earlier_runs_are_listed(dropped, services):
    with person(services["page"]) as page:
        page.locator(f'.runs a[href="{urlsplit(dropped[0]).path}"]').click()
        page.wait_for_url(dropped[0])


@needs_chromium
def test_another_site_cannot_use_it_through_a_persons_browser(dropped, address, services, client, environment):
    def uploads():
        return sorted(Path(environment["OUTPUTS"], "uploads").rglob("*"))

    before = uploads()
    picture = f"{before[-1].parent.name}/{before[-1].name}"  # that another site may have guessed
    with person(address) as page:
        runs = len(client.read_flow_runs(flow_run_filter=MINE))
        other = page.context.browser.new_page()
        other.goto(f"{services['mlflow']}/health")  # no policy of its own keeps a script there from anything
        answers = other.evaluate(FOREIGN_SCRIPT, [address, picture])
        assert answers == ["refused"] * 4
        assert uploads() == before
        assert len(client.read_flow_runs(flow_run_filter=MINE)) == runs
