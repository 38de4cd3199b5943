"""The page of the history: no, one and many weeks, looked at in a browser."""

import re
from datetime import date, timedelta

import pytest

from docs.tools.screenshots import opened_page
from models.notices import PHANTOM_NOTICE
from tasks.retrieval.figures.history_page import RUNS, Panel, history_page
from tasks.retrieval.weekly import Week
from tests.e2e.browser import needs_chromium

MONDAY = date(2026, 1, 5)
PANELS = [
    Panel("Drift", "What drifts.", {"drift/a": "test, <a>", "drift/none": "never measured"}, chance=0.5),
    Panel("Volume", "How much.", {RUNS: "runs", "new": "new images"}, counted=True),
]


def weeks(count):
    """The second has no run."""
    return [
        Week(MONDAY + place * timedelta(days=7), 0, {}, {})
        if place == 1
        else Week(MONDAY + place * timedelta(days=7), 2, {"drift/a": 0.6}, {"drift/a": 1.2, "new": 30.0})
        for place in range(count)
    ]


def page(count, phantoms=False):
    return history_page(weeks(count), PANELS, title="History <x>", about="About.", phantoms=phantoms)


def cells(text):
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row)] for row in rows]


def test_without_a_week_the_page_says_so():
    text = page(0, phantoms=True)
    assert "No run has finished yet" in text and PHANTOM_NOTICE in text
    assert "<script" not in text and "History &lt;x&gt;" in text


def test_numbers_stand_newest_first_and_what_was_never_measured_is_left_out():
    assert cells(page(3)) == [
        ["week from", "test, &lt;a&gt;", "runs", "new images"],
        ["2026-01-19", "0.600", "2", "30"],
        ["2026-01-12", "–", "0", "0"],
        ["2026-01-05", "0.600", "2", "30"],
    ]
    assert "<details>" not in page(3) and "<summary>60 weeks in numbers" in page(60)


@needs_chromium
@pytest.mark.e2e
def test_a_browser_shows_one_and_many_weeks_and_fetches_nothing(tmp_path):
    with opened_page() as browser:
        asked, said = [], []
        browser.on("request", lambda request: asked.append(request.url))
        browser.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        browser.on("pageerror", lambda error: said.append(str(error)))
        for count in (1, 60):
            file = tmp_path / f"{count}.html"
            file.write_text(page(count))
            browser.goto(file.as_uri())
            browser.wait_for_function("window.Bokeh && Bokeh.documents.length === 1 && Bokeh.documents[0].is_idle")
            plots = browser.evaluate(
                "Bokeh.documents[0].roots().map(plot => plot.renderers.map(each => each.data_source.length))"
            )
            assert plots == [[count] * 2, [count] * 4]  # a line and its points, for each that was measured
            letters = browser.evaluate(
                "Bokeh.documents[0].roots().flatMap(plot => [...plot.below, ...plot.left].flatMap(part =>"
                " [part.major_label_text_font_size, part.label_text_font_size].filter(each => each)))"
            )
            assert letters and all(float(size.removesuffix("px")) >= 9 for size in letters)
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
        assert said == []
