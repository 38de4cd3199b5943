import base64
import hashlib
import io
import itertools
import re

import numpy as np
import pytest
from PIL import Image

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.text import one_line, printable
from tasks.cases import pages
from tasks.cases.case import Case
from tasks.cases.heat_overlay import heat_overlay
from tasks.cases.pages import CaseView, case_page, index_page
from tasks.cases.pictures import thumbnail
from tests.support.html import SAFE_ATTRIBUTES, Page
from tests.tasks.cases.examples import HOSTILE, LINKS, REASON, SOURCE, example_case, example_view, phantom
from tests.tasks.reports.test_pages import INJECTION, Mention, answer, unread

BOTH = (("normal", "pneumonia"),) * 2


def written(view: CaseView, *, phantoms: bool = False, random_weights: bool = False, links=LINKS) -> str:
    return case_page(view, source=SOURCE, links=links, phantoms=phantoms, random_weights=random_weights)


def listed(cases: list[Case], thumbnails=None, paged=(), **marks) -> str:
    return index_page(cases, thumbnails or {}, paged, source=SOURCE, links=LINKS, **{"phantoms": False} | marks)


def hostile_view() -> CaseView:
    answers = [answer("concise", words=INJECTION), unread("zero_shot")]
    claims = {"row of concise": [Mention(INJECTION, INJECTION, INJECTION)]}
    return example_view(HOSTILE, answers=answers, claims=claims, reasons=[f"because {INJECTION}"])


@pytest.mark.parametrize("phantoms", [False, True])
@pytest.mark.parametrize("random_weights", [False, True])
def test_notices_stand_where_they_apply(phantoms: bool, random_weights: bool):
    marks = {"phantoms": phantoms, "random_weights": random_weights}
    for text in (written(example_view(), **marks), listed([example_case()], **marks)):
        page = Page(text)
        assert RESEARCH_NOTICE in page.words
        assert (PHANTOM_NOTICE in page.words) == phantoms
        assert (RANDOM_WEIGHTS_NOTICE in page.words) == random_weights


def test_a_page_says_all_that_is_known():
    view = example_view("scan.dcm", encoders=("classifier", "clip"))
    words = Page(written(view)).words
    for said in (
        "scan.dcm", "nothing to look at first", "400 × 300 pixels", "Evidence for pneumonia , from none (blue)",
        "Evidence for normal : there is none anywhere", "Veiled: not seen", "0.83 pneumonia", "threshold 0.46",
        "With 90 % coverage only pneumonia is possible", "With 95 % coverage cannot tell: both classes are possible",
        "Of the 41 validation images", "All say the same.", "similar cases, clip", "pneumonia probable",
        "classifier: 4 pneumonia, 1 normal", "similarity 0.97 train 100", "Impression", "What the classifier saw",
        view.case.digest, "limit 0.62", "No radiologist has read this.", "champion, version 3",
        "All pictures of this run", "not where a disease is",
    ):  # fmt: skip
        assert said in words, said
    assert "revision" not in words
    assert "not to be used" not in words
    assert "Foreign" not in words


def test_what_matters_most_comes_first():
    words = Page(written(example_view(reasons=[REASON]))).words
    order = (
        RESEARCH_NOTICE, "Foreign picture", "Evidence for pneumonia", "Calibrated probability", "Who says what",
        "Nearest labelled cases", "Reports", "The file", "Limitations The classifier", "Where everything comes from",
    )  # fmt: skip
    assert sorted(order, key=words.index) == list(order)


def test_a_foreign_picture_is_shown_with_the_reasons_and_its_probability_struck_out():
    page = Page(written(example_view(reasons=[REASON, "Another reason."], sets=BOTH)))
    assert "Foreign picture: not counted" in page.words
    assert page.words.count(REASON) == 2
    assert "Another reason." in page.words
    assert "not to be used The picture is foreign." in page.words
    assert [tag for tag, _ in page.tags].count("s") == 1
    assert {attributes.get("class") for tag, attributes in page.tags if tag == "section"} >= {"void", "foreign"}
    assert "coverage cannot" not in page.words
    assert "validation images with a probability" not in page.words
    assert "✓ yes" not in page.words
    assert "✗ no " not in page.words
    assert "as the classifier" not in page.words


def test_disagreement_and_doubt_are_said():
    words = Page(written(example_view(answers=[answer("concise", "normal"), answer("structured", None)]))).words
    assert "disagreement classifier, similar cases and reports do not say the same." in words
    assert "They do not say the same." in words
    assert "report, structured no conclusion" in words
    words = Page(written(example_view(sets=BOTH, answers=[answer("structured", None)]))).words
    assert "borderline the classifier cannot tell" in words
    assert "Nobody contradicts the classifier." in words


def test_unsupported_claims_are_marked_in_their_report():
    claims = {"row of concise": [Mention("effusion", "small effusion", "affirmed")]}
    words = Page(written(example_view(answers=[answer("concise"), answer("structured")], claims=claims))).words
    assert words.count("What this image cannot show") == 1
    assert "effusion, affirmed: “small effusion”" in words
    assert "true class" not in words  # nobody knows it


def test_pictures_are_those_of_the_case():
    view = example_view(picture=phantom(height=400, width=600))
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))).astype(int)
             for url in Page(written(view)).attributes("src")]  # fmt: skip
    assert [image.shape for image in shown[:3]] == [(400, 600), (400, 600, 3), (400, 600, 3)]
    assert np.abs(shown[0] - view.picture).mean() < 2
    for image, name in zip(shown[1:3], ("pneumonia", "normal"), strict=True):
        assert np.abs(image - heat_overlay(view.picture, view.heat[name])).mean() < 4
    assert [image.shape for image in shown[3:8]] == [(84, 84)] * 5  # neighbours
    for image, given in zip(shown[3:8], view.neighbours["classifier"], strict=True):
        assert (image[::3, ::3] == given).all()
    assert (shown[8][::5, ::5] == view.image).all()
    assert len(shown) == 11


def test_a_page_stays_small_whatever_the_picture():
    noise = np.random.default_rng(0).integers(0, 256, (5000, 4000), dtype=np.uint8)
    text = written(example_view(picture=noise))
    assert "4000 × 5000 pixels, shown at 960 × 1200" in Page(text).words
    assert len(text) < 6_000_000  # nothing is larger than noise


def test_a_picture_without_neighbours_and_reports_is_shown():
    words = Page(written(example_view(encoders=(), report=False))).words
    assert "None were compared." in words
    assert "No report was asked for." in words


def test_pages_run_nothing_from_a_name_or_a_report():
    view = hostile_view()
    text = written(view)
    page = Page(text)
    assert page.words.count(INJECTION) > 10
    assert page.words.count("{{ 7 * 7 }}") > 10
    assert one_line(HOSTILE) in page.words
    assert printable(HOSTILE) in page.words
    assert "<script" not in text
    table = listed([view.case, example_case(HOSTILE + "2", None, problem=INJECTION)])
    assert table.count("<script") == 1
    assert Page(table).words.count("alert(1)") == 4
    for each in (text, table):
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", each)
        tags = Page(each).tags
        assert not {tag for tag, _ in tags} & {"iframe", "object", "embed", "form", "link", "svg", "base"}
        names = {name for _, attributes in tags for name in attributes}
        more = {"rel", "hidden", "value", "type", "autocomplete", "placeholder"}
        assert {name for name in names if not name.startswith("data-")} <= SAFE_ATTRIBUTES | more


def test_pages_fetch_nothing_and_run_only_the_script_that_the_policy_names():
    text = listed([example_case()], {example_case().digest: thumbnail(phantom())}, [example_case().digest])
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; {}style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    for each, allowed in ((text, f"script-src 'sha256-{digest}'; "), (written(example_view()), "")):
        page = Page(each)
        assert [a["content"] for _, a in page.tags if a.get("http-equiv")] == [policy.format(allowed)]
        assert page.attributes("src")
        assert all(re.match("data:image/(png|jpeg);base64,", address) for address in page.attributes("src"))
        assert "url(" not in each
        assert "@import" not in each


def test_only_addresses_of_the_web_and_of_files_beside_the_page_are_linked():
    good = {"a": "index.html", "b": "fhir/a.json", "c": "http://127.0.0.1:4200/x", "d": "https://example.org/?a=b:c"}
    bad = {
        "e": "javascript:alert(1)",
        "f": "data:text/html,x",
        "g": " javascript:x",
        "h": "//example.org",
        "i": "JaVa:x",
    }
    assert Page(written(example_view(), links=good | bad)).attributes("href") == list(good.values())


def test_the_table_has_a_row_a_case_the_most_urgent_first():
    cases = [
        example_case("fine.png", 0.9, reports={"template": "pneumonia"}),
        example_case("border.png", 0.5, sets=BOTH, encoders=("classifier", "clip")),
        example_case("alien.png", 0.9, reasons=[REASON]),
        example_case("torn.png", None, problem="It ends too early."),
    ]
    page = Page(listed(cases, paged=[cases[0].digest, cases[2].digest]))
    names = ("torn.png", "alien.png", "border.png", "fine.png")
    assert sorted(names, key=page.words.index) == list(names)
    assert "4 pictures: 1 unreadable, 1 foreign (not counted), 1 borderline" in page.words
    assert "It ends too early." in page.words
    assert REASON in page.words
    links = [f"{cases[2].short_name}.html", f"{cases[0].short_name}.html"]
    assert page.attributes("href")[:2] == links
    assert len([tag for tag, _ in page.tags if tag == "tr"]) == 5
    columns = [a for tag, a in page.tags if tag == "th" and a.get("scope") == "col"]
    cells = sum(tag in {"td", "th"} for tag, _ in page.tags) - len(columns)
    assert cells == 4 * len(columns)
    assert [tag for tag, _ in page.tags].count("s") == 2  # probability and label of the foreign picture
    assert "pneumonia 4 of 5" in page.words
    assert "no majority 1 normal, 1 pneumonia" in Page(listed([example_case(near=("normal", "pneumonia"))])).words


def test_a_long_table_has_pictures_of_the_most_urgent_only(monkeypatch):
    monkeypatch.setattr(pages, "MOST_THUMBNAILS", 2)
    cases = [example_case(f"{place}.png", 0.46 + 0.1 * place) for place in range(4)]
    thumbnails = {case.digest: thumbnail(phantom()) for case in cases}
    page = Page(listed(cases, thumbnails))
    assert len(page.attributes("src")) == 2
    assert "The 2 most urgent have their picture here." in page.words
    assert "have their picture" not in Page(listed(cases[:2], thumbnails)).words
    assert not Page(listed(cases)).attributes("src")


def test_classes_of_another_data_set_are_named():
    case = example_case("x.png", 0.9)
    assert case.classification
    renamed = case.classification.model_copy(update={"label": "covid", "sets": {"0.90": ("covid",), "0.95": ()}})
    case = case.model_copy(update={"classification": renamed})
    words = Page(
        index_page([case], {}, [], source={}, links={}, phantoms=False, class_names=("healthy", "covid"))
    ).words
    assert "P(covid)" in words
    assert "covid (1)" in words


@pytest.mark.parametrize("kind", ["case", "table"])
def test_pages_are_accessible(kind: str):
    page = Page(written(example_view(reasons=[REASON])) if kind == "case" else listed([example_case()], paged=["x"]))
    assert ("html", {"lang": "en-GB"}) in page.tags
    assert all("alt" in attributes for tag, attributes in page.tags if tag == "img")
    levels = [int(tag[1]) for tag, _ in page.tags if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert set(page.attributes("aria-labelledby")) <= set(ids)
