import pytest

from tasks.cases.case import Reliability, SimilarCase, SimilarCases
from tasks.cases.wording import (
    Voice,
    describe_counts,
    describe_majority,
    describe_reliability,
    describe_set,
    describe_similar,
    short_set,
    voices,
)
from tests.tasks.cases.examples import REASON, example_case, example_view
from tests.tasks.reports.test_pages import unread


@pytest.mark.parametrize(
    ("labels", "classes", "sentence", "word"),
    [
        ((), 2, "cannot tell: no class fits", "neither"),
        (("pneumonia",), 2, "only pneumonia is possible", "pneumonia"),
        (("normal", "pneumonia"), 2, "cannot tell: both classes are possible", "both"),
        ((), 8, "cannot tell: no class fits", "none"),
        (("a",), 8, "only a is possible", "a"),
        (("a", "b"), 8, "cannot tell: 2 classes are possible, a, b", "a, b"),
        (("a", "b", "c"), 8, "cannot tell: 3 classes are possible, a, b, c", "3 of 8"),
    ],
)
def test_a_conformal_set_in_words(labels, classes, sentence, word):
    assert describe_set(labels, classes) == sentence
    assert short_set(labels, classes) == word


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (
            41,
            "Of the 41 validation images with a probability between 0.80 and 0.90, 93 % had pneumonia "
            "(95 % interval 81–98 %).",
        ),
        (
            1,
            "Of the one validation image with a probability between 0.80 and 0.90, 93 % had pneumonia "
            "(95 % interval 81–98 %).",
        ),
        (
            0,
            "There is no validation image with a probability between 0.80 and 0.90, so nothing says how reliable it "
            "is.",
        ),
    ],
)
def test_reliability_in_one_sentence(images, sentence):
    found = Reliability(low=0.8, high=0.9, images=images, share=0.93, share_low=0.81, share_high=0.98)
    assert describe_reliability(found, "pneumonia") == sentence


@pytest.mark.parametrize(
    ("labels", "tally", "majority"),
    [
        ("nppp", "3 p, 1 n", "3 of 4 p"),
        ("np", "1 n, 1 p", "no majority"),
        ("", "none", "no majority"),
    ],
)
def test_similar_cases_in_words(labels, tally, majority):
    hits = tuple(SimilarCase(split="train", index=0, label=label, similarity=0.9) for label in labels)
    found = SimilarCases(encoder="clip", identity="", hits=hits)
    assert describe_similar(found) == tally
    assert describe_majority(found) == majority


def test_the_cases_of_a_run_are_counted():
    cases = [
        example_case("a.pdf", None),
        example_case("b", 0.9, reasons=[REASON]),
        example_case("c", 0.5, sets=(("normal", "pneumonia"),) * 2),
        example_case("d", 0.9),
        example_case("e", 0.1),  # its similar cases are mostly pneumonia
        example_case("f", 0.8, reports={"concise": "pneumonia", "structured": None}),
    ]
    assert describe_counts(cases) == (
        "6 pictures: 1 unreadable, 1 foreign (not counted), 1 borderline, 1 with disagreement, 2 with nothing to look "
        "at first. Of the 4 counted: 3 pneumonia, 1 normal."
    )
    assert describe_counts(cases[:1]) == "1 picture: 1 unreadable."
    assert describe_counts([]) == "0 pictures."


def test_who_says_what():
    view = example_view(probability=0.1, near=("normal", "pneumonia"), encoders=("classifier", "clip"))
    case = view.case.model_copy(update={"reports": {"template": "pneumonia", "zero_shot": None, "concise": None}})
    assert voices(case, [*view.answers, unread("zero_shot")]) == [
        Voice("classifier", "normal", True, None, "probability 0.10, threshold 0.46"),
        Voice("similar cases, classifier", "no majority", False, None, "1 normal, 1 pneumonia; nearest 0.97"),
        Voice("similar cases, clip", "no majority", False, None, "1 normal, 1 pneumonia; nearest 0.97"),
        Voice("report, template", "pneumonia", True, False, "pneumonia less likely"),
        Voice("report, zero_shot", "no report", False, None, ""),
        Voice("report, concise", "no conclusion", False, None, ""),
    ]


def test_nobody_agrees_with_what_is_said_of_a_foreign_picture():
    assert {voice.agrees for voice in voices(example_case(reasons=[REASON]))} == {None}
    assert [voice.agrees for voice in voices(example_case())] == [None, True]
    assert voices(example_case(probability=None)) == []
