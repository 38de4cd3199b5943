import pytest

from tasks.cases.case import SimilarCases, most_urgent_first
from tests.tasks.cases.some_cases import a_case


@pytest.mark.parametrize(
    ("case", "concern"),
    [
        (a_case(), "none"),
        (a_case(problem="It is no picture."), "unreadable"),
        (a_case(foreign=True, similar=("normal",)), "foreign"),
        (a_case(members=()), "borderline"),
        (a_case(members=("normal", "pneumonia")), "borderline"),
        (a_case(similar=("normal",)), "disagreement"),
        (a_case(similar=("pneumonia", "normal")), "disagreement"),
        (a_case().model_copy(update={"reports": {"template": "normal"}}), "disagreement"),
        (a_case().model_copy(update={"reports": {"template": None}}), "none"),
    ],
)
def test_the_most_urgent_concern_is_named(case, concern):
    assert case.concern == concern
    assert case.counts == (concern not in ("unreadable", "foreign"))
    assert bool(case.why_not_counted) == (not case.counts)


def test_what_needs_a_look_comes_first_and_of_it_what_is_nearest_to_the_threshold():
    cases = [a_case("sure", 0.99), a_case("unsure", 0.55), a_case("odd", foreign=True), a_case("no", problem="Broken.")]
    assert [case.name for case in most_urgent_first(cases)] == ["no", "odd", "unsure", "sure"]


def test_a_tie_of_similar_cases_is_no_majority():
    one = a_case().similar[0]
    both = (*one.hits, one.hits[0].model_copy(update={"label": "normal"}))
    assert SimilarCases(encoder="clip", identity="", hits=both).majority is None
    assert SimilarCases(encoder="clip", identity="", hits=()).majority is None
