"""What a report's words come to: a class, whether a finding is there, and whether the matter is left open.

Negation and doubt are read by `assertion`; here it is said what is looked for. Where clauses contradict each other,
nothing is concluded.
"""

import re
from typing import Literal

from models.report_generation.assertion import Mention, negations_before, pieces, read_statuses, statuses_in
from models.report_generation.schema import Label, Presence

Vote = Literal["normal", "pneumonia", "open"]

_CLAUSE = re.compile(r"[.!;()\[\]|/\n]|\b(?:but|however|although|though|yet|except)\b")
_FIRST_PART = re.compile(r"[.;,]\s|(?<=\w )(?:but|however|although|though|with|without)\b")
_PNEUMONIA = re.compile(r"\b(?:broncho)?pneumonias?\b")
_IMAGE = r"(?:radiograph|x-?ray|study|image|picture|film|exam|examination|appearance|chest|lung)s?"
_NORMAL = re.compile(
    rf"(?:^|,)[^\w,]*+normal[^\w,]*+(?:$|,)|\bwithin normal limits\b|\bunremarkable {_IMAGE}\b"
    rf"|\bnormal (?:(?:small|p(?:a)?ediatric|frontal|child's|plain|chest) )*{_IMAGE}\b"
    rf"|\b(?:{_IMAGE}|it|this|label) (?:is|are|appears?|looks?|seems?) (?:to be )?(?:\w+ly )?(?:normal|unremarkable)\b"
    r"|\b(?:clear lungs|lungs (?:are|appear|look) (?:\w+ly )?clear)\b"
    r"|\bno (?:(?:acute|active|focal|significant|obvious|definite|cardiopulmonary|pulmonary|lung) )*"
    r"(?:abnormalit(?:y|ies)|disease|process)\b"
)
_ALTERNATIVES = re.compile(r"\bor (?:pneumonia|normal)\b|\b(?:pneumonia|normal),? or\b|\bnormal and pneumonia\b")


def label_of(text: str) -> Label | None:
    """Read the class that a text concludes on.

    Args:
        text: an impression, or the value of a label line.

    Returns:
        The class for which all clauses that name one speak; none where they contradict each other, leave it open
        ("pneumonia cannot be excluded", "possible pneumonia"), or name neither.
    """
    votes = votes_of(text)
    if votes == {"pneumonia"}:
        return "pneumonia"
    return "normal" if votes == {"normal"} else None


def votes_of(text: str) -> frozenset[Vote]:
    """Gather what the clauses of a text say of pneumonia.

    A clause that denies pneumonia and one that calls the image normal vote "normal"; one that leaves it open votes
    "open". Other abnormalities vote for nothing: an opacity need not be a pneumonia.

    Args:
        text: English text.

    Returns:
        The votes, each once; empty where no clause speaks of pneumonia or of a normal image.
    """
    plain = re.sub(r"\b(pneumonia|normal)\s*\?", r"possible \1.", _plain(text))
    clauses = (piece for clause in _CLAUSE.split(plain) for piece in pieces(" ".join(clause.split())))
    return frozenset(vote for clause in clauses for vote in _votes_of_clause(clause))


def presence_of(text: str) -> Presence:
    """Read whether a sentence states that something is there.

    Args:
        text: a sentence about a finding, or what follows its name.

    Returns:
        "not assessable" where it says that no judgement is possible; else what the part before the first comma, "but",
        "with" or "without" says: "uncertain" for hedged words, "absent" for negated ones and for calling a thing normal
        or clear, "present" for all others.
    """
    plain = " ".join(_plain(text).split())
    if "not assessable" in statuses_in(plain):
        return "not assessable"
    statuses = statuses_in(_FIRST_PART.split(plain)[0])
    if "hedged" in statuses:
        return "uncertain"
    return "absent" if "denied" in statuses else "present"


def leaves_open(text: str) -> bool:
    """Tell whether any words of a text hedge or decline to judge; "probable" and "likely" commit to a side."""
    return not statuses_in(text).isdisjoint({"hedged", "not assessable"})


def _plain(text: str) -> str:
    return text.lower().replace("’", "'")


def _votes_of_clause(clause: str) -> set[Vote]:
    pneumonia = [Mention(clause, "pneumonia", *match.span()) for match in _PNEUMONIA.finditer(clause)]
    normal = [Mention(clause, "normal", *match.span()) for match in _NORMAL.finditer(clause)]
    statuses = read_statuses(clause, [*pneumonia, *normal], likely_commits=True)
    votes: set[Vote] = set()
    for mention, status in zip([*pneumonia, *normal], statuses, strict=True):
        if status in ("hedged", "not assessable"):
            votes.add("open")
        elif mention.kind == "pneumonia":
            votes.add(_vote_on_pneumonia(mention, denied=status == "denied"))
        elif status == "affirmed" or mention.words.startswith("no "):
            votes.add("normal")
    return votes


def _vote_on_pneumonia(mention: Mention, *, denied: bool) -> Vote:
    for between in negations_before(mention)[-1:]:
        # "No consolidation, effusion or pneumonia" denies it; "no effusion, pneumonia" and "no effusion and pneumonia"
        # are left open.
        listed = "," not in between or re.search(r"\b(?:or|nor)\b", between.rpartition(",")[2])
        return "normal" if denied and listed and not re.search(r"\b(?:and|with)\b", between) else "open"
    if denied:
        return "normal"
    return "open" if _ALTERNATIVES.search(mention.sentence) else "pneumonia"
