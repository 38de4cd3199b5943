import math
from pathlib import Path
from typing import get_args

import pytest

from models.errors import InputError
from tasks.reports.claims.score import STRENGTH, LabelledSentence, labelled_sentences, score_matcher
from tasks.reports.claims.status import Status

A, D, N = "affirmed", "denied", "not assessable"


def test_every_status_has_a_strength():
    assert sorted(STRENGTH) == sorted(get_args(Status))


def test_score_of_a_hand_made_set():
    labelled = [
        LabelledSentence("No effusion.", (("effusion", D),)),  # found, status right
        LabelledSentence("Mild cardiomegaly.", (("heart size", D),)),  # found, status wrong
        LabelledSentence("No effusion here, but a small effusion there.", (("effusion", A),)),  # once, strongest
        LabelledSentence("Water around the lung.", (("effusion", A),)),  # missed
        LabelledSentence("A rib fracture.", ()),  # found by mistake
        LabelledSentence("Hazy opacity.", ()),
    ]
    score = score_matcher(labelled)
    assert score.precision == 3 / 4
    assert score.recall == 3 / 4
    assert score.f1 == 3 / 4
    assert score.status_accuracy == 2 / 3
    assert score.by_kind == {"effusion": 4 / 5, "heart size": 1, "bones": 0}
    assert score.sentences == 6


def test_score_without_claims_is_not_a_number():
    score = score_matcher([LabelledSentence("Hazy opacity.", ())])
    assert all(math.isnan(value) for value in (score.precision, score.recall, score.f1, score.status_accuracy))
    assert score.by_kind == {}
    with pytest.raises(ValueError, match="no labelled sentences"):
        score_matcher([])


def test_labelled_sentences_are_read_by_split(tmp_path: Path):
    table = tmp_path / "labelled.tsv"
    table.write_text(
        "split\tsentence\tclaims\n"
        "dev\tNo effusion, boy.\teffusion=denied; sex=affirmed\n"
        "test\tHeart size not assessable.\theart size=not assessable\n"
        'dev\t"Hazy" opacity.\t\n'
    )
    assert labelled_sentences("dev", table) == (
        LabelledSentence("No effusion, boy.", (("effusion", D), ("sex", A))),
        LabelledSentence('"Hazy" opacity.', ()),
    )
    assert labelled_sentences("test", table) == (LabelledSentence("Heart size not assessable.", (("heart size", N),)),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("split\tsentence\ndev\tA.\n", "needs the columns"),
        ("split\tsentence\tclaims\ntrain\tA.\t\n", r"splits \['train'\]"),
        ("split\tsentence\tclaims\ndev\tA.\tliver=affirmed\n", "liver=affirmed"),
        ("split\tsentence\tclaims\ndev\tA.\tage=maybe\n", "age=maybe"),
    ],
)
def test_faults_of_the_table_are_named(tmp_path: Path, content: str, message: str):
    table = tmp_path / "labelled.tsv"
    table.write_text(content)
    with pytest.raises(InputError, match=message):
        labelled_sentences("dev", table)
