import warnings

import pytest

from models.choices import ENCODERS
from tasks.cases import figures
from tasks.cases.figures import gallery
from tests.support.figures import PHANTOMS, REAL, drawn_by, letters_of, require_legible
from tests.tasks.cases.examples import HOSTILE, REASON, example_view, phantom

MANY = {"encoders": tuple(ENCODERS)}


def words_of(views, source=REAL) -> str:
    (figure,) = drawn_by(lambda: gallery(views, source=source))
    return "\n".join(letters_of(figure))


@pytest.mark.parametrize(
    "cases",
    [
        [],
        [{}],
        [{"name": f"scan {place}.png", **MANY} for place in range(12)],
        [{"name": HOSTILE, "shape": (40, 600), "reasons": [REASON] * 5, "report": False}],
        [{"name": "肺炎 \U0001fac1.png", "shape": (600, 28), "sets": ((), ()), "near": ()}],
    ],
)
def test_a_gallery_can_be_read_where_it_is_shown(cases):
    shapes = [case.pop("shape", (300, 400)) for case in cases]
    views = [example_view(picture=phantom(0, *shape), **case) for shape, case in zip(shapes, cases, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of a letter that the font lacks
        require_legible(lambda: gallery(views, source=REAL))


def test_a_gallery_shows_what_is_known_of_the_first_cases():
    views = [example_view(f"scan {place}.png", sets=(("normal", "pneumonia"), ("pneumonia",))) for place in range(10)]
    words = words_of(views)
    for said in (
        "8 of 10 pictures", "scan 7.png", "pneumonia: p(pneumonia) = 0.83", "set at 90 %: both",
        "set at 95 %: pneumonia", "alike, classifier: 4 of 5 pneumonia", "report, template: pneumonia", "borderline",
        "pneumonia 0.97", "pneumonia 0.96",
    ):  # fmt: skip
        assert said in words
    assert "scan 8.png" not in words
    assert figures.SHOWN == 8


def test_the_probability_of_a_foreign_picture_is_not_to_be_used():
    words = words_of([example_view(reasons=[REASON], report=False)])
    assert "foreign: not counted" in words
    assert "p(pneumonia) = 0.83, not to be used" in words
    assert "It is a colour photograph" in words
    assert "set at" not in words


def test_a_gallery_says_when_the_classifier_learnt_from_phantoms():
    assert "DRAWN PHANTOMS" in words_of([example_view()], PHANTOMS)
