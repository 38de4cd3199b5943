import base64
import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from models.notices import PHANTOM_NOTICE, RESEARCH_NOTICE
from models.vector_index import Neighbours
from tasks.retrieval.figures.interactive_map import MapCases, interactive_map

HOSTILE = '</script><img src=x onerror="alert(1)">'
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (12, 8, 6), dtype=np.uint8)
POINTS = np.array([1, 4, 7, 8])
NEIGHBOURS = Neighbours(
    np.array([[0.99, 0.5], [0.9, 0.8], [0.7, 0.6], [0.4, 0.3]], dtype=np.float32),
    np.array([[4, 10], [1, 7], [8, 10], [7, 11]]),
)
LABELS = np.array([0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0])
SHOWN = [1, 4, 7, 8, 10, 11]
LAYOUTS = {"t-SNE": np.arange(8.0).reshape(4, 2), "UMAP": -np.arange(8.0).reshape(4, 2)}


def page(images=IMAGES, **options):
    cases = MapCases(
        images=images,
        splits=["test"] * 9 + ["train"] * 3,
        indices=np.r_[np.arange(9), np.arange(3)],
        labels=LABELS,
        points=POINTS,
        predicted=np.array([1, 1, 1, 0]),
        confidence=np.array([0.9, 0.6, 0.8, 0.7]),
        neighbours=NEIGHBOURS,
    )
    return interactive_map(
        cases, LAYOUTS, **{"class_names": ("normal", "pneumonia"), "title": "A map", "phantoms": False} | options
    )


def models(text):
    """All Bokeh models of a page."""
    (content,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    found = []

    def walk(value):
        if isinstance(value, dict):
            if value.get("type") == "object":
                found.append(value)
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                walk(each)

    walk(json.loads(html.unescape(content)))
    return found


def attributes(text, name):
    return [model["attributes"] for model in models(text) if model["name"] == name]


def columns(text):
    """The data sources of a page: of the points, and of the images."""
    sources = [dict(each["data"]["entries"]) for each in attributes(text, "ColumnDataSource")]
    return next(each for each in sources if "x" in each), next(each for each in sources if "label" in each)


def sheet(text):
    address = re.search(r"xray \{ background-image: url\(\W*data:image/png;base64,([A-Za-z0-9+/=]+)", text)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address))))


def test_points_refer_to_images_by_their_place_on_the_sheet():
    text = page()
    points, images = columns(text)
    assert images["name"] == ["test 1", "test 4", "test 7", "test 8", "train 1", "train 2"]
    assert images["label"] == ["pneumonia", "normal", "pneumonia", "normal", "pneumonia", "normal"]
    assert points["image"] == [0, 1, 2, 3]
    assert points["neighbours"] == [[1, 4], [0, 2], [3, 4], [2, 5]]
    assert points["predicted"] == ["pneumonia", "pneumonia", "pneumonia", "normal"]
    assert points["closeness"][0] == ["cosine 0.990", "cosine 0.500"]
    assert (points["x"], points["y"]) == ([0, 2, 4, 6], [1, 3, 5, 7])
    assert (points["x1"], points["y1"]) == ([0, -2, -4, -6], [-1, -3, -5, -7])


@pytest.mark.parametrize("colour", [False, True])
def test_the_sheet_holds_every_image_once(colour):
    images = np.stack([IMAGES, IMAGES[::-1], 255 - IMAGES], axis=-1) if colour else IMAGES
    cells = sheet(page(images))
    assert cells.shape[:2] == (2 * 8, 3 * 6)
    for place, original in enumerate(SHOWN):
        row, column = divmod(place, 3)
        np.testing.assert_array_equal(cells[8 * row :, 6 * column :][:8, :6], images[original])


def test_each_colouring_has_its_groups():
    (choice,) = attributes(page(), "Select")
    assert choice["options"] == ["class", "error", "confidence"]
    legends = [
        [item["attributes"]["label"]["value"] for item in each["items"]] for each in attributes(page(), "Legend")
    ]
    assert legends == [
        ["normal (2)", "pneumonia (2)"],
        ["predicted correctly (3)", "normal, predicted otherwise (1)", "pneumonia, predicted otherwise (0)"],
        ["normal (2)", "pneumonia (2)"],
    ]
    assert [each["click_policy"] for each in attributes(page(), "Legend")] == ["hide"] * 3


def test_the_page_is_whole_in_itself_and_says_what_it_is():
    text = page()
    assert not re.search(r"<(?:script|link)[^>]+(?:src|href)=", text)
    said = attributes(text, "Div")[0]["text"]
    assert RESEARCH_NOTICE in said
    assert PHANTOM_NOTICE not in text
    assert PHANTOM_NOTICE in attributes(page(phantoms=True), "Div")[0]["text"]


def test_text_is_escaped():
    text = page(title=HOSTILE, class_names=(HOSTILE, "pneumonia"))
    assert "<img src=x" not in text
    assert html.escape(HOSTILE) in attributes(text, "Div")[0]["text"]


def test_a_map_of_the_test_split_stays_below_5_megabytes():
    images = RANDOM.integers(0, 256, (624, 28, 28), dtype=np.uint8)  # noise, which nothing compresses
    ids = np.arange(624)
    cases = MapCases(
        images, ["test"] * 624, ids, ids % 2, ids, ids % 2, np.full(624, 0.9),
        Neighbours(np.full((624, 5), 0.5, dtype=np.float32), (ids[:, None] + np.arange(1, 6)) % 624),
    )  # fmt: skip
    plane = {"t-SNE": RANDOM.normal(size=(624, 2))}
    assert len(interactive_map(cases, plane, ("normal", "pneumonia"), title="Map", phantoms=False)) < 5e6


REPORTER = """<script>
addEventListener("load", function wait() {
  const models = Bokeh.documents[0] && [...Bokeh.documents[0].all_models]
  if (!models || !Bokeh.documents[0].is_idle) return setTimeout(wait, 50)
  const points = models.find(model => model.type == "ColumnDataSource" && "x" in model.data)
  const panel = models.find(model => model.type == "Div" && model.tags.length)
  points.selected.indices = [1]
  models.find(model => model.type == "RadioButtonGroup").active = 1
  models.find(model => model.type == "Select").value = "error"
  setTimeout(() => {  // callbacks run a little later
    const legends = models.filter(model => model.type == "Legend").map(model => model.visible)
    parent.postMessage({text: panel.text, x: Array.from(points.data.x), legends}, "*")
  }, 500)
})
</script></body>"""

FRAME = """<!doctype html><iframe sandbox="allow-scripts" src="map.html" width="1100" height="900"></iframe><pre></pre>
<script>addEventListener("message", event => {
  document.querySelector("pre").textContent = JSON.stringify(event.data)
})</script>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_shows_the_clicked_point_in_a_frame_that_may_run_scripts_only(tmp_path):
    text = page(class_names=(HOSTILE, "pneumonia"))
    (tmp_path / "map.html").write_text(REPORTER.join(text.rsplit("</body>", 1)))
    (tmp_path / "frame.html").write_text(FRAME)
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    arguments += ["--disable-features=IsolateSandboxedIframes"]  # else the dump does not wait for the frame
    done = subprocess.run(
        ["chromium", *arguments, "--virtual-time-budget=20000", "--dump-dom", (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    seen = json.loads(html.unescape(re.search(r"<pre>(.+?)</pre>", done.stdout, re.DOTALL)[1]))
    assert seen["x"] == [0, -2, -4, -6]
    assert seen["legends"] == [False, True, False]
    panel = seen["text"]
    assert "<img" not in panel
    assert re.findall(r'--side:(\d+)px;--column:(\d);--row:(\d)', panel) == [
        ("252", "1", "0"), ("86", "0", "0"), ("86", "2", "0"),
    ]  # fmt: skip
    assert re.findall(r"<h2>(.*?)</h2>", panel) == ["test 4"]
    assert '<dd class="wrong">pneumonia, probability 0.600</dd>' in panel
    assert "<dt>precision@2</dt><dd>0.00</dd>" in panel
    assert re.findall(r"<span>(.*?)<br>(.*?)<br>cosine (.*?)</span>", panel) == [
        ("test 1", "pneumonia", "0.900"), ("test 7", "pneumonia", "0.800"),
    ]  # fmt: skip


def test_the_same_map_is_the_same_file_whatever_was_drawn_before():
    first = page()
    assert page(title="Another") != first
    assert page() == first
