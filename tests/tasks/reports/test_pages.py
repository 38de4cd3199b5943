import base64
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from models.notices import PHANTOM_NOTICE, RANDOM_WEIGHTS_NOTICE, RESEARCH_NOTICE
from models.report_generation.schema import (
    Answer,
    Case,
    Finding,
    Label,
    NeighbourEvidence,
    Provenance,
    Report,
    Usage,
)
from tasks.reports import pages
from tasks.reports.pages import Agreement, CaseView, agreements, case_page, index_page, neighbour_majority, page_name
from tests.support.html import SAFE_ATTRIBUTES, Page

STRATEGIES = ("concise", "structured", "differential", "zero_shot", "clinical_role", "context_aware")
INJECTION = "<script>alert(1)</script><img src=x onerror=alert(2)>\" style='x' {{ 7 * 7 }}"


@dataclass(frozen=True)
class Mention:
    kind: str
    words: str
    status: str


def case(probability: float | None = 0.8, neighbours: Sequence[Label] = ("pneumonia", "pneumonia", "normal")) -> Case:
    return Case(
        index=12,
        image_sha256="",
        probability=probability,
        threshold=0.46,
        heat_region="centre of the image",
        heat_share=0.31,
        neighbours=tuple(
            NeighbourEvidence(index=100 + i, label=label, similarity=0.9 - 0.01 * i, split="train")
            for i, label in enumerate(neighbours)
        ),
    )


def answer(strategy: str, label: Label | None = "pneumonia", *, words: str = "Hazy opacity.") -> Answer:
    report = Report(
        case_index=12,
        findings=(Finding(name=f"opacity {words}", presence="not assessable", detail=words),),
        impression=words,
        differential=(f"differential {words}",),
        label=label,
        certainty=words,
        image_quality=words,
        limitations=(words,),
        provenance=Provenance(
            generator="medgemma", version="7", strategy=strategy, model="google/medgemma-4b-it",
            revision="290cda5eeccbee130f98", precision="nf4", language_model=True, dataset="pneumoniamnist",
            classifier_sha256="f" * 64, phantoms=False,
        ),
    )  # fmt: skip
    return Answer(
        row_id=f"row of {strategy}", case_index=12, strategy=strategy, control="none", shown_probability=None,
        prompt=f"prompt of {strategy} {words}", text=f"text of {strategy} {words}", report=report,
        usage=Usage(prompt_tokens=311, generated_tokens=97, finish_reason="stop", seconds=1.25, batch_size=8,
                    peak_gib=None),
    )  # fmt: skip


def unread(strategy: str) -> Answer:
    made = answer(strategy)
    assert made.usage
    cut = made.usage.model_copy(update={"finish_reason": "length"})
    text = f"half a report {INJECTION}"
    return made.model_copy(update={"report": None, "problem": "the text is cut short", "text": text, "usage": cut})


def asked(score: float, mass: float) -> Answer:
    return Answer(
        row_id="q", case_index=12, strategy="yes_no", control="none", shown_probability=None, prompt="", text="Yes",
        score=score, choice_mass=mass,
    )  # fmt: skip


def view(answers: Sequence[Answer] = (), *, evidence: Case | None = None, **other) -> CaseView:
    generator = np.random.default_rng(0)
    evidence = evidence or case()
    return CaseView(
        case=evidence,
        group="pneumonia, called correctly",
        truth="pneumonia",
        image=generator.integers(0, 256, (28, 28), dtype=np.uint8),
        heat=generator.random((28, 28)),
        neighbours=[(found, np.full((28, 28), 40, np.uint8)) for found in evidence.neighbours],
        answers=answers,
        **other,
    )


def render(shown: CaseView, *, phantoms: bool = False, random_weights: bool = False, **other) -> Page:
    return Page(case_page(shown, phantoms=phantoms, random_weights=random_weights, **other))


@pytest.mark.parametrize("phantoms", [False, True])
@pytest.mark.parametrize("random_weights", [False, True])
def test_notices_stand_where_they_apply(phantoms: bool, random_weights: bool):
    """Also on a page of which no answer could be read."""
    shown = view([unread("concise")])
    for page in (
        render(shown, phantoms=phantoms, random_weights=random_weights),
        Page(index_page([shown], phantoms=phantoms, random_weights=random_weights)),
    ):
        assert RESEARCH_NOTICE in page.words
        assert (PHANTOM_NOTICE in page.words) == phantoms
        assert (RANDOM_WEIGHTS_NOTICE in page.words) == random_weights


def test_page_shows_the_evidence():
    page = render(view([answer("concise")], asked=asked(0.731, 0.97)))
    for words in (
        "Case 12", "True class: pneumonia", "Group: pneumonia, called correctly", "0.80", "threshold 0.46", "✓ correct",
        "centre of the image (31 % of the heat)", "similarity 0.90", "train 102", "0.731",
    ):  # fmt: skip
        assert words in page.words
    assert "P(yes)" not in render(view([answer("concise")])).words


def test_an_undecided_answer_is_shown_as_such():
    page = render(view([answer("concise")], asked=asked(0.731, 0.0213)))
    assert "P(yes) of the language model: undecided (Yes and No hold 0.021 of the probability)" in page.words
    assert "0.731" not in page.words


def test_the_thought_before_an_answer_is_counted():
    made = answer("concise")
    thought = made.model_copy(update={"usage": made.usage.model_copy(update={"thought_tokens": 40})})
    assert "97 generated (40 of them a thought), " in render(view([thought])).words
    assert "of them a thought" not in render(view([made])).words


def test_page_shows_every_strategy_with_its_report():
    page = render(view([answer(strategy, words=f"words of {strategy}") for strategy in STRATEGIES]))
    cards = [attributes for tag, attributes in page.tags if tag == "article"]
    assert len(cards) == len(STRATEGIES)
    for strategy in STRATEGIES:
        for part in ("words", "prompt", "text"):
            assert f"{part} of {strategy}" in page.words
        assert f"differential words of {strategy}" in page.words
    for words in (
        "○ not assessable", "311 prompt tokens, 97 generated, 1.25 s in a batch of 8", "medgemma, version 7",
        "google/medgemma-4b-it at 290cda5eeccb, nf4", "Limitations (1)",
    ):  # fmt: skip
        assert page.words.count(words) == len(STRATEGIES)


def test_an_answer_that_cannot_be_read_is_shown_with_its_text_and_the_reason():
    page = render(view([answer("concise"), unread("structured")]))
    assert "✗ no report" in page.words
    assert "the text is cut short" in page.words
    assert "cut at the token limit" in page.words
    assert f"half a report {INJECTION}" in page.words
    nothing = unread("concise").model_copy(update={"text": "", "usage": None, "problem": None})
    assert "Nothing." in render(view([nothing])).words


def test_text_of_the_model_stays_text():
    answers = [answer("concise", words=INJECTION), unread("structured")]
    claims = {"row of concise": [Mention(INJECTION, INJECTION, INJECTION)]}
    hostile = view(answers, claims=claims)
    text = case_page(hostile, source={INJECTION: INJECTION}, phantoms=False, random_weights=False)
    page = Page(text)
    assert page.words.count(INJECTION) > 10
    assert "{{ 7 * 7 }}" in page.words
    assert "<script" not in text
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "form", "link", "svg"}
    assert {name for _, attributes in page.tags for name in attributes} <= SAFE_ATTRIBUTES


@pytest.mark.parametrize("kind", ["case", "index"])
def test_pages_fetch_nothing_and_forbid_scripts(kind: str):
    answers = [answer("concise", words="see https://example.org/x.png"), unread("structured")]
    if kind == "case":
        text = case_page(view(answers), phantoms=True, random_weights=True)
    else:
        text = index_page([view(answers)], phantoms=True, random_weights=True)
    page = Page(text)
    assert all(value.startswith("data:image/png;base64,") for value in page.attributes("src"))
    assert not page.attributes("href")  # MLflow's viewer follows none
    assert all("//" not in value for value in page.attributes("style"))
    assert "url(" not in text
    assert "@import" not in text
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script" not in policy


def test_pages_are_accessible():
    page = render(view([answer("concise"), unread("structured")]))
    assert ("html", {"lang": "en-GB"}) in page.tags
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 5
    assert all(attributes["alt"] for attributes in images)
    levels = [int(tag[1]) for tag, _ in page.tags if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert set(page.attributes("aria-labelledby")) == set(ids)


def test_the_image_is_enlarged_pixel_by_pixel():
    shown = view([answer("concise")])
    url = render(shown).attributes("src")[0]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))
    assert pixels.shape == (280, 280)
    for row in range(10):
        assert (pixels[row::10, 9 - row :: 10] == shown.image).all()


def test_the_overlay_follows_the_heat():
    """Blue where there is none and red where there is most, over the picture."""
    heat = np.zeros((28, 28))
    heat[:, 14:] = 1
    shown = replace(view([]), image=np.full((28, 28), 100, np.uint8), heat=heat)
    url = render(shown).attributes("src")[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))
    assert pixels.shape == (280, 280, 3)
    cold, hot = pixels[140, 70], pixels[140, 210]
    assert cold.tolist() == [65, 65, round(65 + 0.35 * 127.5)]  # jet starts at (0, 0, .5) and ends at (.5, 0, 0)
    assert hot.tolist() == [round(65 + 0.35 * 127.5), 65, 65]


def test_unsupported_claims_are_listed_beside_their_report():
    claims = {"row of structured": [Mention("effusion", "small effusion", "hedged"), Mention("sex", "boy", "affirmed")]}
    shown = view([answer("concise"), answer("structured")], claims=claims)
    page = render(shown)
    assert page.words.count("What this image cannot show") == 1
    assert "effusion, hedged: “small effusion”" in page.words
    assert "⚠ 2 unsupported" in page.words
    assert "⚠ 2 unsupported" in Page(index_page([shown], phantoms=False, random_weights=False)).words


def test_agreements_compare_every_voice():
    answers = [answer("concise", "normal"), answer("structured", None), unread("differential")]
    assert agreements(view(answers)) == [
        Agreement("classifier", "pneumonia", True, None, True),
        Agreement("similar cases", "pneumonia", True, True, None),
        Agreement("concise", "normal", False, False, False),
        Agreement("structured", "no conclusion", None, None, None),
        Agreement("differential", "no report", None, None, None),
    ]
    alone = case(None, ())
    assert agreements(view([answer("concise")], evidence=alone)) == [
        Agreement("classifier", "not told", None, None, None),
        Agreement("concise", "pneumonia", True, None, None),
    ]
    tied = agreements(view([answer("concise")], evidence=case(0.1, ("normal", "pneumonia"))))
    assert tied == [
        Agreement("classifier", "normal", False, None, None),
        Agreement("similar cases", "no majority", None, None, None),
        Agreement("concise", "pneumonia", True, False, None),
    ]


@pytest.mark.parametrize(
    ("labels", "majority"),
    [
        ([], None),
        (["normal"], "normal"),
        (["normal", "pneumonia"], None),
        (["normal", "pneumonia", "pneumonia"], "pneumonia"),
    ],
)
def test_majority_of_the_similar_cases(labels: list[Label], majority: Label | None):
    assert neighbour_majority(case(neighbours=labels)) == majority


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([answer("a"), answer("b")], "The strategies agree (pneumonia 2)."),
        (
            [answer("a"), answer("b"), answer("c", "normal")],
            "The strategies contradict one another (pneumonia 2, normal 1).",
        ),
        (
            [answer("a"), answer("b"), answer("c", None)],
            "No strategy contradicts another, but not all come to a conclusion (pneumonia 2, no conclusion 1).",
        ),
        ([answer("a", None), unread("b")], "No strategy comes to a conclusion (no conclusion 1, no report 1)."),
    ],
)
def test_agreement_between_the_strategies(answers: list[Answer], sentence: str):
    assert sentence in render(view(answers)).words


def test_a_case_without_probability_neighbours_or_reports_is_shown():
    page = render(view([], evidence=case(None, ())))
    assert "Not told." in page.words
    assert "None were compared." in page.words
    assert "No report was asked for." in page.words


def test_source_is_named_and_what_is_unknown_left_out():
    words = render(view(), source={"precision": "nf4", "revision": None}).words
    assert "precision nf4" in words
    assert "revision" not in words


def test_index_has_a_row_a_case_and_a_cell_a_strategy():
    second = view(
        [answer("concise", "normal"), answer("structured", None), unread("differential")],
        evidence=case(0.2).model_copy(update={"index": 345}),
    )
    views = [view([answer("concise")]), second]
    text = index_page(views, phantoms=False, random_weights=False)
    page = Page(text)
    assert [attributes.get("class") for tag, attributes in page.tags if tag == "details"].count("whole") == 2
    assert page.words.index("Case 12 : ") < page.words.index("Case 345 : ")
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    levels = [tag for tag, _ in page.tags if tag in {"h1", "h2"}]
    assert levels.count("h1") == 1
    assert "Calibrated probability of pneumonia" in page.words  # the whole case stands below the table
    first, _, rest = page.words.split("case 12")[1].partition("case 345")
    last, _, totals = rest.partition("Correct")
    assert "✓ pneumonia p 0.80" in first
    assert first.count("not asked") == 2
    assert "✗ normal p 0.20" in last
    assert "✗ normal ? no conclusion ∅ no report" in last
    assert totals.split()[:12] == ["1", "of", "2", "1", "of", "2", "0", "of", "2", "0", "of", "2"]


def test_the_page_of_many_cases_holds_the_first_of_them(monkeypatch):
    monkeypatch.setattr(pages, "IN_ONE_PAGE", 1)
    views = [view([answer("concise")], evidence=case(0.2).model_copy(update={"index": index})) for index in (5, 6, 7)]
    page = Page(index_page(views, phantoms=False, random_weights=False))
    assert [attributes.get("class") for tag, attributes in page.tags if tag == "details"].count("whole") == 1
    assert "2 more cases have a page each" in page.words
    assert "case 7" in page.words


def test_page_names_sort_as_the_cases_do():
    assert page_name(12) == "0012.html"
    assert sorted(map(page_name, (5, 40, 300, 623))) == [page_name(i) for i in (5, 40, 300, 623)]
