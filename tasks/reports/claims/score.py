"""How well the matcher of unsupported claims agrees with a reader who labelled sentences by hand."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from models.errors import InputError
from models.text import printable
from tasks.reports.claims.lexicon import KINDS
from tasks.reports.claims.matching import find_claims
from tasks.reports.claims.status import Status

Split = Literal["dev", "test"]

LABELLED = Path(__file__).with_name("labelled_claims.tsv")
"""The hand-labelled sentences that the matcher is scored on."""

STRENGTH: tuple[Status, ...] = ("affirmed", "hedged", "denied", "not assessable")
"""Statuses from the strongest; the strongest stands for a kind that one sentence mentions several times."""


@dataclass(frozen=True)
class LabelledSentence:
    """A sentence and what a reader found in it.

    Attributes:
        sentence: the text.
        claims: pairs of kind and status, one a kind.
    """

    sentence: str
    claims: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MatcherScore:
    """How well the matcher agrees with a reader, over pairs of sentence and kind.

    Attributes:
        precision: share of the pairs found that the reader has too; NaN where none is found.
        recall: share of the reader's pairs that are found; NaN where the reader has none.
        f1: their harmonic mean; NaN where neither has any.
        status_accuracy: share of the pairs that both have whose statuses agree; NaN where there are none.
        by_kind: F1 of each kind that either has, in the order of `KINDS`.
        sentences: how many sentences were compared.
    """

    precision: float
    recall: float
    f1: float
    status_accuracy: float
    by_kind: dict[str, float]
    sentences: int


def score_matcher(labelled: Sequence[LabelledSentence]) -> MatcherScore:
    """Compare the matcher with a reader.

    A kind counts once a sentence, with its strongest status.

    Args:
        labelled: sentences with the reader's claims.

    Returns:
        The score.

    Raises:
        ValueError: there are no sentences.
    """
    if not labelled:
        raise ValueError("no labelled sentences to score")
    found = {
        (i, kind): status for i, entry in enumerate(labelled) for kind, status in _strongest(entry.sentence).items()
    }
    read = {(i, kind): status for i, entry in enumerate(labelled) for kind, status in entry.claims}
    shared = found.keys() & read.keys()

    def f1(kinds: Sequence[str]) -> float:
        pairs = [sum(kind in kinds for _, kind in group) for group in (shared, found, read)]
        return _ratio(2 * pairs[0], pairs[1] + pairs[2])

    present = {kind for _, kind in found.keys() | read.keys()}
    return MatcherScore(
        precision=_ratio(len(shared), len(found)),
        recall=_ratio(len(shared), len(read)),
        f1=f1(KINDS),
        status_accuracy=_ratio(sum(found[pair] == read[pair] for pair in shared), len(shared)),
        by_kind={kind: f1([kind]) for kind in KINDS if kind in present},
        sentences=len(labelled),
    )


def labelled_sentences(split: Split, path: Path = LABELLED) -> tuple[LabelledSentence, ...]:
    """Read the hand-labelled sentences.

    Args:
        split: "dev", which the matcher was tuned on, or "test", which it was not.
        path: a tab-separated table with the columns `split`, `sentence` and `claims`; the last holds
            "kind=status; kind=status" or nothing.

    Returns:
        The sentences of that split, in the order of the table.

    Raises:
        InputError: a column is missing, or a split, kind or status is not one of those known.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
        if not {"split", "sentence", "claims"} <= set(reader.fieldnames or ()):
            raise InputError(
                f"{path} needs the columns split, sentence and claims, but has {printable(reader.fieldnames)}."
            )
        rows = [(row["split"], LabelledSentence(row["sentence"], _parsed(row["claims"], path))) for row in reader]
    if unknown := {name for name, _ in rows} - set(get_args(Split)):
        raise InputError(f"{path} has the splits {printable(sorted(unknown))}: write dev or test.")
    return tuple(sentence for name, sentence in rows if name == split)


def _parsed(claims: str, path: Path) -> tuple[tuple[str, str], ...]:
    pairs = []
    for pair in filter(None, map(str.strip, claims.split(";"))):
        kind, _, status = (part.strip() for part in pair.partition("="))
        if kind not in KINDS or status not in STRENGTH:
            raise InputError(f"{path} has the claim '{printable(pair, 40)}': write kind=status as the other lines do.")
        pairs.append((kind, status))
    return tuple(pairs)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _strongest(text: str) -> dict[str, Status]:
    claims = sorted(find_claims(text), key=lambda claim: STRENGTH.index(claim.status), reverse=True)
    return {claim.kind: claim.status for claim in claims}
