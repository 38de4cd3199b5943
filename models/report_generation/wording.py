"""What English words say of a thing: that it is there, that it is not, or that it is left open.

In the manner of NegEx (Chapman et al., "A Simple Algorithm for Identifying Negated Findings and Diseases in Discharge
Summaries", Journal of Biomedical Informatics, 2001): fixed lists of cues that act within their clause. Where clauses
contradict each other, nothing is concluded.
"""

import re
from typing import Literal

from models.report_generation.schema import Label, Presence

Vote = Literal["normal", "pneumonia", "open"]

_REACH = 300  # characters beyond which no word acts on another: what repeats itself without end stays quick to read

_CLAUSE = re.compile(r"[.!;()\[\]|/\n]|\b(?:but|however|although|though|yet|except)\b")
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
_NOT_NORMAL = re.compile(r"\b(?:not|n't|never|than|instead of)\b")
_JUDGED = r"(?:excluded?|ruled? out|assess\w*|evaluat\w*|judged?|determined?|confirmed?|told?|said)"
_OPEN = re.compile(
    r"\b(?:possib\w+|may|might|could|perhaps|maybe|uncertain\w*|unclear|equivocal|questionable|indeterminate"
    r"|undetermined|inconclusive|non-?diagnostic|whether|if|rule out|consider\w*|versus|vs|differential|history of"
    r"|risk of|(?:not|cannot|can't|unable|difficult|hard|insufficient) (?:\w+ ){0,3}" + _JUDGED + r"|not-?assessable)\b"
)
_ALTERNATIVES = re.compile(r"\bor (?:pneumonia|normal)\b|\b(?:pneumonia|normal),? or\b|\bnormal and pneumonia\b")
_NO_NEGATION = re.compile(r"\b(?:no (?:doubt|question|change|improvement)|not (?:only|just))\b")
_BEFORE = re.compile(
    r"\b(?:no|not|non|without|absence of|lack(?:s|ing)?(?: of)?|negative for|free (?:of|from)|rule[sd] out"
    r"|excludes?|neither|nor|never|unlikely|less likely|rather than|instead of)\b|n't\b"
)
_AFTER = re.compile(
    r"[ :-]*(?:(?:is|are|was|were|has|have|be|been|seems?|appears?|looks?|can|does|to) ?)*"
    r"(?:(?:no|none)$|(?:not(?! normal)|absent|negative|excluded|ruled out|(?:very |highly )?unlikely|less likely)\b)"
)

_UNASSESSABLE = re.compile(
    r"\b(?:not|cannot|can't|unable to|difficult to|impossible to)(?: be)?(?: \w+ly)?[ -]"
    r"(?:assess\w*|evaluat\w*|judged?|determined?)|\b(?:unassessable|non-?diagnostic)\b"
)
_UNCERTAIN = re.compile(
    r"\b(?:possib\w+|may|might|could|perhaps|maybe|uncertain\w*|unclear|equivocal|questionable|indeterminate|subtle"
    r"|(?:cannot|can't|not) (?:be )?(?:\w+ly )?(?:excluded?|ruled? out|confirmed?))\b|\?"
)
_PRESENT = re.compile(r"\b(?:abnormal\w*|not (?:\w+ly )?(?:clear|normal|unremarkable))\b")
_ABSENT = re.compile(
    r"\b(?:no|not|none|without|absent|absence|negative|clear|normal|unremarkable|free of|unlikely)\b|n't\b"
)
_FIRST_PART = re.compile(r"[.;,]\s|(?<=\w )(?:but|however|although|though|with|without)\b")


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
    return frozenset(vote for clause in _CLAUSE.split(plain) for vote in _votes_of_clause(" ".join(clause.split())))


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
    if _UNASSESSABLE.search(plain):
        return "not assessable"
    part = _FIRST_PART.split(plain)[0]
    if _UNCERTAIN.search(part):
        return "uncertain"
    if _PRESENT.search(part):
        return "present"
    return "absent" if _ABSENT.search(_NO_NEGATION.sub(" ", part)) else "present"


def _plain(text: str) -> str:
    return text.lower().replace("’", "'")


def _votes_of_clause(clause: str) -> set[Vote]:
    clause = _NO_NEGATION.sub(" ", clause)
    targets = list(_PNEUMONIA.finditer(clause))
    if _OPEN.search(clause):
        return {"open"} if targets or re.search(r"\bnormal\b", clause) else set()
    votes = {_vote_on_pneumonia(clause, target.start(), target.end()) for target in targets}
    for match in _NORMAL.finditer(clause):
        before = clause[max(0, match.start() - _REACH) : match.start()]
        if not _NOT_NORMAL.search(before.rpartition(",")[2]) and not re.search(r"\b(?:not|n't)\b", match[0]):
            votes.add("normal")
    return votes


def _vote_on_pneumonia(clause: str, start: int, end: int) -> Vote:
    before, after = clause[max(0, start - _REACH) : start], clause[end : end + _REACH]
    negations = list(_BEFORE.finditer(before))
    if not negations:
        if _AFTER.match(after):
            return "normal"
        return "open" if _ALTERNATIVES.search(before + clause[start:end] + after) else "pneumonia"
    between = before[negations[-1].end() :]
    # "No consolidation, effusion or pneumonia" denies it; "no effusion, pneumonia" and "no effusion and pneumonia" are
    # left open.
    listed = "," not in between or re.search(r"\b(?:or|nor)\b", between.rpartition(",")[2])
    return "normal" if listed and not re.search(r"\b(?:and|with)\b", between) else "open"
