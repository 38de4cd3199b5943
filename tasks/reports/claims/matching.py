"""What a report says about things that a small grey picture cannot show, sentence by sentence."""

import re
from dataclasses import dataclass

from models.report_generation.assertion import Status, pieces, read_statuses
from tasks.reports.claims.lexicon import find_mentions

MATCHER_F1 = 254 / 263
"""F1 over pairs of sentence and kind on 120 held-out sentences labelled by hand; the tests hold them and measure it."""

_BULLET = re.compile(r"^\s*(?:[-*+•–]|#+|\(?\d+[.)])\s+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.\s?g|i\.\s?e|vs|approx|ca|cf|dr|fig|incl|resp|yrs?|mo)|\b(?!n\.a)[a-z]\.[a-z])\.$", re.IGNORECASE
)
_LONGEST_ABBREVIATION = 20  # characters before its last full stop, with room to spare
_END = re.compile(r"(?<![.!?])[.!?]++[\"'”’)\]]*+\s+|(?<=[a-z]{2})\.(?=[a-z]{2})", re.IGNORECASE)


@dataclass(frozen=True)
class Claim:
    """One mention of what the picture cannot show.

    Attributes:
        kind: one of `claim_lexicon.KINDS`.
        words: the words that mention it.
        status: "affirmed": said to be there; "denied": said to be absent or normal; "hedged": said to be possible;
            "not assessable": said to be beyond judgement, which is no claim. A side of which something normal is said
            is affirmed, and so is a comparison that finds no change.
        sentence: the sentence it stands in.
    """

    kind: str
    words: str
    status: Status
    sentence: str


def find_claims(text: str) -> list[Claim]:
    """Find every mention of what the picture cannot show.

    Args:
        text: what a report says: prose, lists, headings or Markdown.

    Returns:
        The mentions in the order of the text.
    """
    return [claim for sentence in split_sentences(text) for claim in _claims_of(sentence)]


def unsupported_claims(text: str) -> list[Claim]:
    """Find the mentions that claim knowledge: all but those said to be not assessable.

    Args:
        text: what a report says.

    Returns:
        The claims in the order of the text, denied and hedged ones included: an effusion's absence cannot be seen
        either.
    """
    return [claim for claim in find_claims(text) if claim.status != "not assessable"]


def split_sentences(text: str) -> list[str]:
    """Split at sentence ends and line ends; a line that goes on in lower case, as wrapped prose does, is not split."""
    text = re.sub(r"[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}", "", text)
    lines = re.sub(r"(?<![.:;!?\s])[ \t]*\n[ \t]*(?=[a-z])", " ", text).splitlines()
    sentences = []
    for line in lines:
        rest = _BULLET.sub("", line)
        start = 0
        for end in _END.finditer(rest):
            if not _ABBREVIATION.search(rest[max(start, end.start() - _LONGEST_ABBREVIATION) : end.start() + 1]):
                sentences.append(rest[start : end.end()])
                start = end.end()
        sentences.append(rest[start:])
    return [piece for sentence in sentences for piece in pieces(sentence.strip())]


def _claims_of(sentence: str) -> list[Claim]:
    mentions = find_mentions(sentence)
    return [
        Claim(mention.kind, mention.words, status, sentence)
        for mention, status in zip(mentions, read_statuses(sentence, mentions), strict=True)
    ]
