"""What only a browser shows: that nothing is cut, that letters can be read, and that the table sorts and filters."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from docs.tools import screenshots
from tasks.cases.case import Case
from tasks.cases.pages import case_page, index_page
from tasks.cases.pictures import thumbnail
from tests.support.figures import LEAST_LETTERS
from tests.tasks.cases.examples import HOSTILE, LINKS, REASON, SOURCE, example_case, example_view, phantom
from tests.tasks.reports.test_pages import INJECTION, Mention, answer, unread

pytestmark = pytest.mark.skipif(not any(map(shutil.which, screenshots._PROGRAMS)), reason="needs Chromium")

BOTH = (("normal", "pneumonia"),) * 2
CASES = [
    example_case("scan 10.png", 0.97),
    example_case("scan 9.png", 0.05, near=("normal",) * 5),
    example_case("doubt.png", 0.5, sets=BOTH),
    example_case("against.png", 0.8, near=("normal",) * 5, reports={"template": "pneumonia"}),
    example_case("holiday.jpg", 0.9, reasons=[REASON]),
    example_case("letter.png", None),
    example_case(HOSTILE, 0.7),
]
SMALLEST = """() => Math.min(...[...document.querySelectorAll("body *")]
    .filter(each => !["SCRIPT", "OPTION"].includes(each.tagName) && each.getClientRects().length &&
        [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(each => parseFloat(getComputedStyle(each).fontSize)))"""
"""The smallest letters of a page that are seen, in pixels."""
CUT = """() => [...document.querySelectorAll("h1, h2, h3, p, li, dd, figcaption, img, td, .card")]
    .filter(each => !each.closest(".scroll") && each.getBoundingClientRect().right > innerWidth + 1)
    .map(each => each.outerHTML.slice(0, 100))"""


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    with screenshots.opened_page() as page:
        page.set_default_timeout(30_000)
        yield page


@pytest.fixture
def opened(browser_page: Page, tmp_path: Path) -> Iterator:
    """Opens HTML, and sees to it that nothing is fetched and that the browser complains about nothing."""
    complaints: list[str] = []
    fetched: list[str] = []

    def complain(said: object) -> None:
        complaints.append(str(getattr(said, "text", said)))

    def fetch(request) -> None:
        if not request.url.startswith("data:"):
            fetched.append(request.url)

    listeners = {"console": complain, "pageerror": complain, "request": fetch}
    for event, listener in listeners.items():
        browser_page.on(event, listener)

    def show(text: str, width: int = 1440, height: int = 900, scheme: str = "light") -> Page:
        browser_page.set_viewport_size({"width": width, "height": height})
        browser_page.emulate_media(color_scheme=scheme)
        (tmp_path / "index.html").write_text(text)
        browser_page.goto((tmp_path / "index.html").as_uri())
        return browser_page

    yield show
    for event, listener in listeners.items():
        browser_page.remove_listener(event, listener)
    browser_page.emulate_media(media="null", color_scheme="null")
    assert not complaints
    assert {url.rpartition("/")[2] for url in fetched} <= {"index.html"}


def table(cases: list[Case] = CASES, **marks) -> str:
    thumbnails = {case.digest: thumbnail(phantom()) for case in cases[:4]}
    return index_page(cases, thumbnails, [cases[0].digest], source=SOURCE, links=LINKS, phantoms=False, **marks)


def one_case(**case) -> str:
    view = example_view(**case)
    return case_page(view, source=SOURCE, links=LINKS, phantoms=False, random_weights=False)


def hostile_case() -> str:
    answers = [answer("concise", words=INJECTION), unread("zero_shot")]
    claims = {"row of concise": [Mention("effusion", INJECTION, "affirmed")]}
    return one_case(name=HOSTILE, answers=answers, claims=claims, reasons=[REASON], picture=phantom(0, 200, 900))


def names(page: Page) -> list[str]:
    """The names in the table, in its order."""
    return [name[:12] for name in page.locator("#cases tbody th bdi").all_inner_texts()]


URGENT = ["letter.png", "holiday.jpg", "doubt.png", "against.png", "<script>aler", "scan 9.png", "scan 10.png"]


def test_columns_sort_up_down_and_back(opened):
    page = opened(table())
    assert names(page) == URGENT
    heading = page.get_by_role("columnheader", name="P(pneumonia)")
    expect(heading).to_have_attribute("aria-sort", "none")
    press = page.get_by_role("button", name="P(pneumonia)")
    press.click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    rising = ["scan 9.png", "doubt.png", "<script>aler", "against.png", "holiday.jpg", "scan 10.png"]
    assert names(page) == [*rising, "letter.png"]  # what has no value is last both ways
    press.click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert names(page) == [*reversed(rising), "letter.png"]
    page.get_by_role("button", name="File").click()
    expect(heading).to_have_attribute("aria-sort", "none")
    assert names(page).index("scan 9.png") < names(page).index("scan 10.png")
    for _ in range(2):
        page.get_by_role("button", name="File").click()
    assert names(page) == URGENT


def test_every_column_sorts(opened):
    page = opened(table())
    buttons = page.locator("#cases thead button")
    for place in range(buttons.count()):
        buttons.nth(place).click()
        assert sorted(names(page)) == sorted(URGENT)
    page.get_by_role("button", name="Foreign").click()
    page.get_by_role("button", name="Foreign").click()
    assert names(page)[0] == "holiday.jpg"


def test_the_table_filters_by_concern_label_and_text(opened):
    page = opened(table())
    status = page.get_by_role("status")
    expect(status).to_have_text("7 of 7 pictures")
    page.get_by_label("Look at first").select_option("disagreement")
    assert names(page) == ["against.png"]
    expect(status).to_have_text("1 of 7 pictures")
    page.get_by_label("Look at first").select_option("")
    page.get_by_label("Label").select_option("normal")
    assert names(page) == ["scan 9.png"]
    page.get_by_label("Label").select_option("")
    page.get_by_label("Text").fill("Colour PHOTO")  # in the reason
    assert names(page) == ["holiday.jpg"]
    page.get_by_label("Text").fill("scan ")
    page.get_by_role("button", name="P(pneumonia)").click()
    assert names(page) == ["scan 9.png", "scan 10.png"]
    page.get_by_label("Text").fill("<script>")
    assert names(page) == ["<script>aler"]


def test_the_table_works_with_the_keyboard(opened):
    page = opened(table())
    page.get_by_label("Look at first").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("scan")
    assert names(page) == ["scan 9.png", "scan 10.png"]
    for _ in range(2):  # past the table's own scrolling, to its first heading
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "File"
    expect(page.get_by_role("columnheader", name="File")).to_have_attribute("aria-sort", "ascending")


def test_a_long_table_shows_its_first_rows_and_the_rest_when_asked(opened):
    page = opened(table([example_case(f"scan {place}.png", 0.9) for place in range(620)]))
    status = page.get_by_role("status")
    expect(status).to_have_text("620 of 620 pictures, the first 500 are shown")
    assert page.locator("#cases tbody tr").count() == 500
    page.get_by_role("button", name="Show all").click()
    expect(status).to_have_text("620 of 620 pictures")
    assert page.locator("#cases tbody tr").count() == 620
    page.get_by_label("Text").fill("scan 61")
    assert page.locator("#cases tbody tr").count() == 11
    expect(page.get_by_role("button", name="Show all")).to_be_hidden()


def test_without_its_script_the_table_is_there_and_controls_are_not(opened):
    text = re.sub(r"<script>.*?</script>", "", table(), flags=re.DOTALL)
    page = opened(text)
    assert names(page) == URGENT
    expect(page.locator("#controls")).to_be_hidden()
    assert page.locator("#cases button").count() == 0


def test_another_script_does_not_run(browser_page: Page, tmp_path: Path):
    changed = table().replace('"use strict";', '"use strict"; document.title = "changed";')
    added = table().replace(
        "</body>", '<script>document.title = "changed"</script><img src=x onerror="document.title=1">'
    )
    for text in (changed, added):
        (tmp_path / "index.html").write_text(text)
        browser_page.goto((tmp_path / "index.html").as_uri())
        assert browser_page.title() == "Cases: all pictures of the run"


@pytest.mark.parametrize("kind", ["case", "hostile", "table"])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (320, "light")])
def test_nothing_is_cut_and_all_can_be_read(opened, kind: str, width: int, scheme: str):
    text = {"case": one_case, "hostile": hostile_case, "table": table}[kind]()
    page = opened(text, width, 844, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []
    assert page.evaluate(SMALLEST) >= LEAST_LETTERS
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(245, 246, 248)", "dark": "rgb(18, 22, 29)"}[scheme]


@pytest.mark.parametrize(("scheme", "reasons"), [("light", []), ("dark", [REASON])])
def test_a_case_is_printed_on_one_sheet_of_a4_in_dark_letters(opened, tmp_path: Path, scheme: str, reasons: list[str]):
    page = opened(one_case(picture=phantom(0, 1500, 1300), reasons=reasons), scheme=scheme)
    page.emulate_media(media="print")
    assert page.evaluate(SMALLEST) >= LEAST_LETTERS
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 35, 48)"
    page.pdf(path=tmp_path / "case.pdf", prefer_css_page_size=True)
    written = (tmp_path / "case.pdf").read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", written)) == 1
    assert re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", written)[0] == (b"594.95996", b"841.91998")
