"""How well the matcher agrees with a reader who labelled sentences by hand, half of which it was tuned on."""

import csv
from pathlib import Path
from typing import get_args

import pytest

from models.report_generation.assertion import Status
from tasks.reports.claims.lexicon import KINDS
from tasks.reports.claims.matching import MATCHER_F1, find_claims

LABELLED = Path(__file__).with_name("labelled_claims.tsv")
STRENGTH: tuple[Status, ...] = ("affirmed", "hedged", "denied", "not assessable")
"""The strongest status stands for a kind that one sentence mentions several times."""


def _labelled(split: str) -> dict[str, dict[str, str]]:
    """Read the sentences of a split, each with the status of every kind that the reader found in it."""
    with LABELLED.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["split"] == split]
    return {row["sentence"]: dict(pair.split("=") for pair in row["claims"].split("; ") if pair) for row in rows}


def _found(sentence: str) -> dict[str, str]:
    claims = sorted(find_claims(sentence), key=lambda claim: STRENGTH.index(claim.status), reverse=True)
    return {claim.kind: claim.status for claim in claims}


def _score(labelled: dict[str, dict[str, str]]) -> tuple[float, float, float, float]:
    """Compute precision, recall and F1 over pairs of sentence and kind, and the share of shared pairs' statuses."""
    pairs = [
        (found.get(kind), read.get(kind))
        for sentence, read in labelled.items()
        for found in [_found(sentence)]
        for kind in found.keys() | read.keys()
    ]
    shared = [(found, read) for found, read in pairs if found and read]
    found, read = sum(pair[0] is not None for pair in pairs), sum(pair[1] is not None for pair in pairs)
    same = sum(one == other for one, other in shared)
    return len(shared) / found, len(shared) / read, 2 * len(shared) / (found + read), same / len(shared)


def test_the_labels_are_known_ones():
    assert sorted(STRENGTH) == sorted(get_args(Status))
    found = [pair for split in ("dev", "test") for claims in _labelled(split).values() for pair in claims.items()]
    assert {kind for kind, _ in found} <= set(KINDS)
    assert {status for _, status in found} <= set(STRENGTH)


def test_the_score_of_a_hand_made_set():
    labelled = {
        "No effusion.": {"effusion": "denied"},  # found, status right
        "Mild cardiomegaly.": {"heart size": "denied"},  # found, status wrong
        "No effusion here, but a small effusion there.": {"effusion": "affirmed"},  # once, strongest
        "Water around the lung.": {"effusion": "affirmed"},  # missed
        "A rib fracture.": {},  # found by mistake
        "Hazy opacity.": {},
    }
    assert _score(labelled) == (3 / 4, 3 / 4, 3 / 4, 2 / 3)


@pytest.mark.parametrize(
    ("split", "precision", "recall", "f1", "status"),
    [("dev", 136 / 137, 1, 272 / 273, 135 / 136), ("test", 127 / 129, 127 / 134, MATCHER_F1, 118 / 127)],
)
def test_the_matcher_agrees_with_the_reader_as_documented(split, precision, recall, f1, status):
    labelled = _labelled(split)
    assert len(labelled) == 120
    assert _score(labelled) == pytest.approx((precision, recall, f1, status), abs=1e-12)
