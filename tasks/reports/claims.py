"""What a report says about things that a small grey picture cannot show: mentions found by lexicon, read by triggers.

The method is that of NegEx (Chapman et al., "A Simple Algorithm for Identifying Negated Findings and Diseases in
Discharge Summaries", Journal of Biomedical Informatics, 2001) and ConText (Harkema et al., same journal, 2009): a
trigger such as "no" or "cannot be excluded" gives its status to the mentions after or before it, up to where its scope
ends. The lexicon and the triggers are made for chest radiographs and for the words of people who write about pictures.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from models.errors import InputError

Status = Literal["affirmed", "denied", "hedged", "not assessable"]
Split = Literal["dev", "test"]

LABELLED = Path(__file__).with_name("labelled_claims.tsv")
"""The hand-labelled sentences that the matcher is scored on."""

STRENGTH: tuple[Status, ...] = ("affirmed", "hedged", "denied", "not assessable")
"""Statuses from the strongest; the strongest stands for a kind that one sentence mentions several times."""

_FINDING = (
    r"(?:opacit\w+|opacificat\w+|consolidat\w+|infiltrat\w+|pneumonia|pneumothora\w+|effusions?|atelecta\w+|collapse|"
    r"nodules?|mass(?:es)?|lesions?|haz\w+|air\W?space)"
)
_ANATOMY = (
    r"(?:sided|lungs?|hemi\W?thorax|thorax|chest|lobes?|hil\w+|perihilar|infrahilar|suprahilar|parahilar|bas(?:e|es|al|"
    r"ilar)|apex|apical|(?:hemi\W?)?diaphragm|costophrenic|cardiophrenic|pleura\w*|parenchyma\w*|paracardiac|retrocardiac|"
    r"ventric\w+|atri\w+|heart|cardiac|ribs?|clavic\w+|humer\w+|scapul\w+|paratracheal|(?:main|mainstem)\W+bronchus|"
    rf"aortic|jugular|subclavian|{_FINDING})"
)
_SMALL_WORD = r"(?:in|of|about|that|and|or|for|on|at|is|are|was|the|a|to|with|when|if|because|as)"
_POSITION = r"(?:upper|lower|middle|mid|side|half|zones?|fields?|part|quadrant|hand\W+side)"
_PICTURE_WORD = r"(?:image|picture|frame|heat\W?map|map|radiograph|film|x\W?ray|photo|display|screen|panel|thumbnail)"
_OF_THE_PICTURE = (
    rf"(?!(?:\W+\w+){{0,3}}?\W+(?:of|in|on)\W+(?:the|this|that|each)(?:\W+\w+){{0,2}}?\W+{_PICTURE_WORD}\b)"
)
_EARLIER = r"(?:prior|previous|earlier|former|old|older|past|last|preceding)"
_IMAGING = (
    r"(?:stud(?:y|ies)|exam\w*|images?|pictures?|views?|imaging|films?|radiograph\w*|x\W?rays?|comparisons?|"
    r"CTs?|scans?)"
)
_CHANGED = r"(?:changed|improved|worsened|progressed|resolved|increased|decreased|regressed|cleared|grown|enlarged)"
_NO_CHANGE = r"(?:increase|decrease|change|improvement|worsening|progression)s?"
_COMPUTED = r"(?:version|release|model|software|score|training|classifier|prediction|probabilit\w+|trained|seen)\b"
_NUMBER = r"(?:\d+(?:[.,]\d+)?|one|two|three|four|five|six|seven|eight|nine|ten|few|several)"
_UNIT = r"(?:mm|cm|ml|cc|HU|kg|lit(?:re|er)s?|millimet\w+|centimet\w+|millilit\w+|inch(?:es)?|degrees?)"

LEXICON: dict[str, re.Pattern[str]] = {
    kind: re.compile("|".join(patterns), re.IGNORECASE)
    for kind, patterns in {
        "side": (
            r"\blaterality\b",
            r"\bpatient['’]?s?\W+(?:own\W+)?(?:left|right|sides?)\b",
            r"\bsides?\W+of\W+the\W+(?:patient|body|chest|thorax)\b",
            rf"\b(?:which|one|affected|same|opposite)\W+sides?\b{_OF_THE_PICTURE}",
            r"\b(?:left\W+(?:and|or|from|versus|vs\.?|to)\W+(?:the\W+)?right|right\W+(?:and|or|from|versus|vs\.?|to)\W+"
            r"(?:the\W+)?left)\b" + _OF_THE_PICTURE,
            rf"\b(?:left|right)[\s-]+(?:{_POSITION}[\s-]+)?(?:(?!{_SMALL_WORD}\b)\w+[\s-]+)?{_ANATOMY}\b",
            rf"\b(?:left|right)\W+{_POSITION}\b{_OF_THE_PICTURE}",
            rf"\b(?:upper|lower|middle|mid)\W+(?:left|right)\b{_OF_THE_PICTURE}",
            rf"(?:(?<=\b(?:on|to|in|at)\sthe\s)|(?<=\bfrom\sthe\s))(?:left|right)\b(?!\W+track){_OF_THE_PICTURE}",
            r"\bthe\W+(?:left|right)\W+(?:one|is|shows?|has|appears?|remains?)\b",
            rf"\bboth\W+(?:\w+\W+)?{_ANATOMY}\b",
            rf"\bboth\W+sides\b{_OF_THE_PICTURE}",
            r"\b(?:n?either)\W+(?:lung|hemithorax|side)\b(?!\W+of\W+the\W+(?:picture|image))",
            rf"(?:(?<=\bon\s)(?:left|right)\b(?!\W+(?:out|track))|(?<=,\s)(?:left|right)(?=\W*$)){_OF_THE_PICTURE}",
            r"\b[LR]\W?(?:lung|base|hilum|hemithorax|effusion|upper\W+lobe|lower\W+lobe|side|sided)\b",
            r"\b(?:RUL|RML|RLL|LUL|LLL)\b",
            r"\b(?:bi|uni|contra|ipsi)\W?lateral(?:ly)?\b",
            r"\bbi\W?(?:bas(?:al|ilar)|apical|hilar)\b",
        ),
        "lobe": (r"\b(?:(?:multi|uni|bi|pan)\W?)?lob(?:es?|ar)\b", r"\blingular?\b", r"\b(?:RUL|RML|RLL|LUL|LLL)\b"),
        "effusion": (
            r"\beffusions?\b",
            r"\bpleural\W+(?:fluid|spaces?|cavit\w+|collections?)\b",
            r"\bfluid\W+(?:in|into|within|around)\W+(?:\w+\W+){0,2}?(?:pleura\w*|fissures?|chest|thorax|lungs?)\b",
            r"\bfluid\W+(?:tracks?|tracking|layers?|levels?|collections?|accumulat\w+)\b",
            r"\b(?:free|layering|loculated)\W+fluid\b",
            r"\bpleurae?\b",
            r"\b(?:hydro(?:pneumo)?|haemo|hemo|chylo|pyo)thorax\b",
            r"\bempyema\b",
            r"\bcosto\W?phrenic\b",
            r"\bCP\W+angles?\b",
        ),
        "heart size": (
            r"\bcardio\W?(?:megaly|mediastinal|thoracic|thymic)\b",
            r"\bheart\b(?!\W+(?:failure|disease|rate|murmur))",
            r"\bcardiac\b(?!\W+(?:failure|disease|arrest|monitor\w*|devices?|leads?))",
            r"\bmediastin(?:um|al)\b",
            r"\bCTR\b",
        ),
        "bones": (
            r"\bribs?\b",
            r"\brib\W?cage\b",
            r"\bfractur(?:es?|ed)\b",
            r"\b(?:bones?|bony|osseous|(?:musculo)?skeletal|skeleton)\b",
            r"\b(?:clavic(?:les?|ular)|vertebra[el]?|spin(?:e|al)|scoliosis|kyphosis|scapul(?:a|ae|ar)|stern(?:um|al)|"
            r"humer(?:us|al|i)|osteo\w+|callus|dislocat\w+)\b",
        ),
        "device": (
            r"\b(?:tubes?|tubing|catheters?|pace\W?makers?|electrodes?|stents?|shunts?|implants?|prosthes[ie]s|prosthetic|"
            r"cannulae?|PICC|ETT|NGT|ECMO|port\W?a\W?cath|hardware|intubat(?:ed|ion))\b",
            r"\b(?:(?:support|implanted|monitoring|external|cardiac)\W+)?(?<!not a medical )devices?\b",
            r"\b(?:central|venous|arterial|monitoring|umbilical|support|IV|infusion)\W+lines?\b",
            r"\blines?(?=\W+(?:and|or)\W+(?:tubes?|drains?|devices?|catheters?)\b)",
            r"\bno\W+lines?\b|\blines?\W+tips?\b",
            r"\b(?:(?:chest|surgical|pigtail|pleural)\W+)?drains?\b",
            r"\b(?:ECG|EKG|pacing|pacer|monitor\w*|cardiac)\W+(?:leads?|wires?)\b",
            r"\b(?:surgical|sternal|metal\w*|vascular)\W+(?:clips?|wires?|staples?|coils?)\b",
            r"\b(?:pacers?|defibrillators?|ICD|LVAD|mechanical\W+valve|wires?)\b",
            r"\b(?:endotracheal|nasogastric|orogastric|tracheostomy|sternotomy)\b",
        ),
        "measurement": (
            rf"(?<![\w.])(?:{_NUMBER}\s*(?:x|×|by|to|-|–)\s*)?{_NUMBER}[\s-]*{_UNIT}\b",
            r"\b(?:sub\W?)?(?:milli|centi)met(?:re|er)s?\b",
            r"\bmeasurements?\b",
        ),
        "comparison": (
            rf"\bcompar(?:ed|isons?)\W+(?:to|with)\W+(?:\w+\W+){{0,3}}?{_EARLIER}(?:\W+\w+)?\W+{_IMAGING}\b",
            rf"\b{_EARLIER}(?:\W+(?!probabilit)\w+)?\W+{_IMAGING}\b",
            r"\bcomparisons?\b(?!\W+(?:to|with|of|between|against|cases?))",
            rf"\b(?:priors|previously)\b(?!\W+{_COMPUTED})",
            rf"\b(?:unchanged|stable)\b(?!\W+(?:\w+\W+)?{_COMPUTED}|\W+(?:when|under|after|if|across|between)\b)",
            rf"\b(?:no|without|any)\W+(?:\w+\W+){{0,2}}?{_NO_CHANGE}\b",
            r"\bchanges?\W+(?:since|from|over\W+time)\b",
            r"\binterval\W+(?:change|increase|decrease|improvement|worsening|resolution|development|growth|progression)\b",
            rf"\b(?:has|have)\W+(?:not\W+)?(?:\w+ly\W+)?{_CHANGED}\b",
            r"\b(?:worsening|improving|resolving|progressing|enlarging|progression)\b",
            r"\bthan\W+(?:before|previously|yesterday|last|(?:at|on|in)\W+the\W+(?:last|first|earlier|previous|prior))\b",
            rf"\bsince\W+(?:yesterday|last|then|admission|surgery|treatment|(?:the\W+)?{_EARLIER})\b",
            r"\b(?:has|have)\W+since\b",
            r"\b(?:as|like)\W+before\b",
            r"\bin\W+the\W+(?:meantime|interim)\b",
            r"\bcompared\W+(?:to|with)\W+(?:yesterday|last|before|baseline)\b",
            r"\b(?:increased|decreased|improved|worsened|new)\W+(?:since|compared)\b",
            rf"\bnew(?:ly)?\W+(?:\w+\W+){{0,2}}?{_FINDING}\b",
            r"\b(?:again|no\W+longer)\W+(?:seen|noted|demonstrated|visible|present)\b",
            r"\bpersist(?:s|ent|ing|ed)\b",
            r"\bover\W+time\b",
        ),
        "age": (
            r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)\W?(?:years?|months?|weeks?|days?|yrs?|y|mo)"
            r"\W?(?:olds?|of\W+age)\b",
            r"\b\d+\W?y\W?o\b",
            r"\bage[ds]?\b",
            r"\b(?:infan(?:ts?|cy|tile)|neonat\w+|newborns?|baby|babies|toddlers?|adolescen\w+|juvenile|pre\W?term|premature|"
            r"teen(?:age\w*|s)?|adult(?:s|hood)?|elderly|geriatric|pre\W?school\w*|young|middle\W?aged)\b",
        ),
        "sex": (
            r"\b(?:sex|gender)\b",
            r"\b(?:males?|females?|man|men|woman|women|(?:school)?(?:boys?|girls?)|gentleman|lady|son|daughter|Mrs?|Ms)\b",
            r"\b(?:he|she|his|hers?|him|himself|herself)\b",
        ),
    }.items()
}
"""What a 28×28 picture of a child's chest without clinical data cannot support, by kind, as whole words in any case.
"Left of the image" is about the picture and does not count, nor does that it is a child, which is known. It is a
lexicon: it misses paraphrases."""

KINDS: tuple[str, ...] = tuple(LEXICON)


@dataclass(frozen=True)
class Claim:
    """One mention of what the picture cannot show.

    Attributes:
        kind: one of `KINDS`.
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


def find_claims(text: str) -> list[Claim]:
    """Find every mention of what the picture cannot show.

    Args:
        text: what a report says: prose, lists, headings or Markdown.

    Returns:
        The mentions in the order of the text.
    """
    return [claim for sentence in _sentences(text) for claim in _claims_of(sentence)]


def unsupported_claims(text: str) -> list[Claim]:
    """Find the mentions that claim knowledge: all but those said to be not assessable.

    Args:
        text: what a report says.

    Returns:
        The claims in the order of the text, denied and hedged ones included: an effusion's absence cannot be seen
        either.
    """
    return [claim for claim in find_claims(text) if claim.status != "not assessable"]


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
            raise InputError(f"{path} needs the columns split, sentence and claims, but has {reader.fieldnames}.")
        rows = [(row["split"], LabelledSentence(row["sentence"], _parsed(row["claims"], path))) for row in reader]
    if unknown := {name for name, _ in rows} - set(get_args(Split)):
        raise InputError(f"{path} has the splits {sorted(unknown)}: write dev or test.")
    return tuple(sentence for name, sentence in rows if name == split)


def _parsed(claims: str, path: Path) -> tuple[tuple[str, str], ...]:
    pairs = []
    for pair in filter(None, map(str.strip, claims.split(";"))):
        kind, _, status = (part.strip() for part in pair.partition("="))
        if kind not in KINDS or status not in STRENGTH:
            raise InputError(f"{path} has the claim {pair!r}: write kind=status with one of {KINDS} and {STRENGTH}.")
        pairs.append((kind, status))
    return tuple(pairs)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _strongest(text: str) -> dict[str, Status]:
    claims = sorted(find_claims(text), key=lambda claim: STRENGTH.index(claim.status), reverse=True)
    return {claim.kind: claim.status for claim in claims}


# Sentences

_BULLET = re.compile(r"^\s*(?:[-*+•–]|#+|\(?\d+[.)])\s+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.\s?g|i\.\s?e|vs|approx|ca|cf|dr|fig|incl|resp|yrs?|mo)|\b(?!n\.a)[a-z]\.[a-z])\.$", re.IGNORECASE
)
_END = re.compile(r"[.!?]+[\"'”’)\]]*\s+|(?<=[a-z]{2})\.(?=[a-z]{2})", re.IGNORECASE)


def _sentences(text: str) -> list[str]:
    """Split at sentence ends and line ends; a line that goes on in lower case, as wrapped prose does, is not split."""
    text = re.sub(r"[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}", "", text)
    lines = re.sub(r"(?<![.:;!?\s])[ \t]*\n[ \t]*(?=[a-z])", " ", text).splitlines()
    sentences = []
    for line in lines:
        rest = _BULLET.sub("", line)
        start = 0
        for end in _END.finditer(rest):
            if not _ABBREVIATION.search(rest[start : end.start() + 1]):
                sentences.append(rest[start : end.end()])
                start = end.end()
        sentences.append(rest[start:])
    return [sentence.strip() for sentence in sentences if sentence.strip()]


# Triggers

_WINDOW = 8  # words that a scope reaches from its trigger, or from the last item of a list
_REACH = 300  # characters beyond which no trigger reaches: what repeats itself without end stays quick to read

_BE = r"(?:is|are|was|were|be|been|appears?|appeared|seems?|remains?|looks?)"
_SHOWS = r"(?:shows?|demonstrates?|reveals?|has|have|displays?|exhibits?|contains?)"
_ADVERBS = r"(?:\W+(?:\w+ly|also|even|yet|well|therefore|thus|since|now|both|all))*"
_CANNOT = r"(?:can\W?not|can['’]?t|could\W+not|couldn['’]?t)"
_SEEN = (
    r"(?:seen|identified|present|visible|visuali[sz]ed|evident|detected|demonstrated|appreciated|noted|observed|found|shown|"
    r"apparent|recogni[sz]ed|depicted|suspected)"
)
_JUDGE = (
    r"(?:assess|determine|judge|evaluate|measure|establish|infer|know|comment|tell|say|estimate|ascertain|resolve|show|"
    r"distinguish|verify|specify|state|support|provide|reveal|speak|compare|decide|localise|localize|derive|characteri[sz]e|"
    r"appraise|gauge|quantify|count|describe)"
)
_DETERMINED = (
    r"(?:assess|determin|judg|evaluat|measur|establish|infer|known|comment|told|said|estimat|ascertain|resolv|consider|"
    r"distinguish|verif|specif|stated|derived|deduced|interpret|characteri|locali[sz]|assign|apprais|gaug|quantif|given|"
    r"compar|decided|addressed|drawn|reported|provided)\w*"
)
_JUDGED = (
    rf"(?:{_DETERMINED}|(?:see|visuali|identif|discern|made|apprec|detect|recogni|delineat|perform|count)\w*|"
    r"confirmed\W+(?:n?or|and)\W+(?:excluded|ruled\W+out))"
)
_TEXTUAL = (
    r"(?:statement|comment|conclusion|claim|opinion|remark|verdict|judge?ment|information|assessment|inference|evaluation|"
    r"detail|data)s?"
)
_NORMAL = (
    r"(?:normal|unremarkable|intact|clear|sharp|(?:well\W?)?preserved|midline|central|whole|healthy|inconspicuous|"
    r"within\W+(?:the\W+)?(?:normal\W+)?(?:limits|range)|free|unaffected|spared|uninvolved|unenlarged)"
)
_STRUCTURES = ("lobe", "effusion", "heart size", "bones")


@dataclass(frozen=True)
class _Trigger:
    """Words that give a status to the mentions after them ("forward"), before them ("backward"), or both.

    Without a status they only keep the triggers inside them from acting, as "not only" does. Where a pattern has a
    group, only the group is the trigger, and the rest its surroundings.
    """

    status: Status | None
    acts: Literal["forward", "backward", "both"]
    patterns: tuple[re.Pattern[str], ...]
    kinds: tuple[str, ...] = KINDS
    window: int = _WINDOW


def _trigger(
    status: Status | None,
    acts: Literal["forward", "backward", "both"],
    *patterns: str,
    kinds: tuple[str, ...] = KINDS,
    window: int = _WINDOW,
) -> _Trigger:
    return _Trigger(status, acts, tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns), kinds, window)


_TRIGGERS: tuple[_Trigger, ...] = (
    # Pseudo-triggers
    _trigger(
        None,
        "forward",
        r"\bnot\W+(?:only|just|merely)\b",
        r"\b(?:no|without)\W+(?:doubt|difficulty|question)\b",
        r"\bnot\W+(?:of\W+|an?\W+)?(?:normal|absent|unremarkable|intact|sharp|free(?:\W+(?:of|from))?|without|"
        r"clear(?!\W+(?:if|whether))(?:\W+of)?)\b",
        r"\bnot\W+(?:the\W+case|true)\W+that\b.*",
        rf"\b(?:no|without)\W+(?:\w+\W+){{0,2}}?{_NO_CHANGE}\b",
        rf"\b(?:has|have)\W+not\W+(?:\w+ly\W+)?{_CHANGED}\b",
        r"\bnot\W+(?:\w+ly|well)\W+(?:defined|demarcated|circumscribed|marginated)\b",
        r"\bno\W+longer\b",
    ),
    # Not assessable
    _trigger(
        "not assessable",
        "forward",
        rf"\b(?:{_CANNOT}|unable\W+to|not\W+able\W+to|(?:does|do|did)\W+not(?!{_ADVERBS}\W+(?:show|reveal|say)\b)){_ADVERBS}\W+{_JUDGE}\b",
        rf"\b{_CANNOT}{_ADVERBS}\W+{_JUDGE}\b",
        rf"\b{_CANNOT}\W+be{_ADVERBS}\W+{_JUDGED}(?=\W+(?:\w+\W+)?(?:whether|if|which|where|how|what)\b)",
        rf"\b(?:does|do|did|would)\W+not{_ADVERBS}\W+(?:allow|permit|enable|suffice)\b",
        rf"\b{_CANNOT}{_ADVERBS}\W+(?:be\W+used|allow|permit)\b",
        r"\b(?:preclude|prevent|prohibit|limit|hamper|hinder|impede|impair)(?:s|ing)?\b",
        rf"\b(?:no|without|lacks?|lack\W+of|insufficient)\W+(?:\w+\W+){{0,2}}?{_TEXTUAL}"
        r"(?:\W+(?:\w+\W+){0,3}?(?:on|about|of|regarding|concerning|as\W+to))",
        r"\bnothing\W+(?:\w+\W+){1,4}said\W+(?:about|of|on)\b",
        r"\b(?:says?|tells?|shows?|reveals?)\W+(?:us\W+)?nothing\W+(?:about|of|on)\b",
        r"\b(?:limited|no|not|non\W?diagnostic)\W+(?:assess|evaluat)\w+\W+(?:of|for)\b",
        r"\b(?:insufficient|inadequate|too\W+little|not\W+(?:suitable|sufficient|adequate|enough|reliable))"
        r"\W+(?:\w+\W+){0,2}?(?:to|for)\b",
        r"\bwithout\W+(?:knowing|knowledge\W+of)\b",
        rf"\b(?:need(?:s|ed)?|requires?|required|necessary)\b(?:\W+\w+){{0,6}}?\W+to\W+{_JUDGE}\b",
        r"\bnothing\b(?:\W+\w+){0,5}?\W+(?:tells?|says?|shows?|reveals?|indicates?)\W+(?:us\W+)?(?:the|whether|how|which)\b",
        r"\b(?:not|refrain\w*\W+from|declin\w+\W+to|abstain\w*\W+from)\W+(?:comment|judg|assess)\w*(?:\W+on)?\b",
        r"\bno\W+mention\W+of\b",
        rf"\b(?:neither|no)\b(?=(?:(?!\bcan\b)[^.;]){{0,300}}\bcan\W+be{_ADVERBS}\W+{_DETERMINED})",
    ),
    _trigger(
        "not assessable",
        "both",
        rf"\b(?:not\W+(?:\w+ly\W+)?possible|impossible|difficult|hard|not\W+feasible)\W+to{_ADVERBS}\W+(?:{_JUDGE}|see)\b",
        r"\btoo\W+(?:low|small|coarse|fine|blurred|poor|few|limited)\b",
    ),
    _trigger(
        "not assessable",
        "backward",
        rf"\b{_CANNOT}\W+be{_ADVERBS}\W+{_JUDGED}",
        rf"\bcan\W+(?:neither\W+be|be\W+neither){_ADVERBS}\W+{_JUDGED}",
        rf"\bnot{_ADVERBS}(?:\W+be)?{_ADVERBS}\W+(?:assessable|evaluable|measurable|determinable|determined|known|provided|"
        r"available|given|stated|specified|recorded|supplied|documented|possible|feasible|resolvable|resolved|discernible|"
        r"judged|measured|reported|interpretable|reliable|assessed|evaluated|judgeable|distinguishable|inferable|"
        r"included|applicable|performed|made|established|commented)\b(?!\W+to\b)",
        rf"\bnot\W+(?:well|adequately|clearly|reliably|sufficiently)\W+{_SEEN}\b",
        rf"\bnot\W+{_SEEN}(?=\W+(?:at\W+(?:this|such|the)|because|due|given|owing)\b)",
        r"\b(?:un(?:known|available|answerable|answered|knowable|determinable|determined|assessable|specified|resolvable|reported)|indeterminable|impossible|"
        r"non\W?(?:assessable|evaluable))\b(?!\W+to\b)",
        r"\bn/a\b|\bn\.\s?a\b",
        rf"\b{_CANNOT}\W+be{_ADVERBS}\W+(?:answered|named|counted\W+on)\b",
        r"\b(?:guess(?:work|es)?|speculation|left\W+(?:open|unjudged|unanswered)|an?\W+open\W+question)\b",
        r"\b(?:is|are|be)\W+(?:\w+ly\W+)?limited\b",
        r"\b(?:beyond|below|outside)\W+(?:what|the|this|its)\b",
        r"\b(?:is|are)\W+(?:missing|withheld|lost)\b",
        r"\b(?:would|could|can|may|might)\W+(?:\w+ly\W+)?(?:be\W+)?(?:invisible|missed|overlooked|hidden|escape\w*|go\W+un\w+)\b",
    ),
    _trigger(
        "not assessable",
        "forward",
        rf"\b(?:{_CANNOT}\W+be|not){_ADVERBS}\W+{_DETERMINED}(?=\W+(?:in|as)\b)",
        kinds=("measurement",),
    ),
    # Hedged
    _trigger(
        "hedged",
        "forward",
        r"\b(?:possibl[ey]|possibility|probabl[ey]|probability\W+of|perhaps|maybe|may|might|could|potential(?:ly)?|"
        r"presum(?:ed|ably|able)|likely|unlikely|doubtful|equivocal|query|borderline)\b",
        r"\b(?:suspected|suspect|suspicion\W+(?:of|for)|suspicious\W+(?:of|for)|question(?:able|ably|\W+of)|hints?\W+(?:of|at))\b",
        r"\b(?:suggest(?:s|ed|ing|ive)?|concern(?:s|ing)?\W+for|worrisome\W+for|raises?\W+(?:the\W+)?(?:question|concern))\b",
        rf"\b(?:{_CANNOT}|not|to|should)(?:\W+be)?{_ADVERBS}\W+(?:exclude|rule\W+out)\b",
        r"(?:^|\W)(?:rule\W+out|r/o)\b",
        r"\b(?:if|whether|consider|differential|unclear\W+(?:if|whether)|not\W+(?:clear|certain|sure)\W+(?:if|whether))\b",
        r"(?:^|\s)\?\s?(?=\w)",
        r"\b(?:seems?|favou?r(?:s|ed|ing)?|conceivabl[ey]|tentative(?:ly)?|thought\W+to|believed\W+to|chance\W+of)\b",
        r"(?:^|\bplease\W+)(exclude)\b",
    ),
    _trigger("hedged", "both", r"\b(?:versus|vs)\b"),
    _trigger(
        "hedged",
        "backward",
        rf"\b(?:{_CANNOT}|could\W+not|not)(?:\W+be)?{_ADVERBS}\W+(?:excluded|ruled\W+out|dismissed|discounted|confirmed)",
        rf"(?:\b{_BE}{_ADVERBS}(?:\W+(?:most|very|highly|quite|rather|only|less|more|also))?\W+|[:(=–—-]\s*)(possible|probable|"
        r"likely|unlikely|suspected|questionable|equivocal|doubtful|uncertain|unclear|conceivable|suggested|borderline|"
        r"a\W+possibility|a\W+concern|indeterminate|favou?red)\b(?!\W+(?:due|related|secondary|to\W+(?:represent|reflect)))",
        r"\b(?:likely|unlikely|possible|probable|questionable|suspected)\W*$",
        r"\b(may|might|could)\W+(?:\w+ly\W+|also\W+|well\W+|still\W+|not\W+)?(?:be|exist)\b"
        r"(?!\W+(?:due|related|secondary|caused|attributed|attributable|consistent|explained|a|an|the|pneumonia|"
        r"infect\w+|inflammat\w+|artefact\w*|artifact\w*|from)\b)",
        r"\?\s*$",
    ),
    # Denied
    _trigger(
        "denied",
        "forward",
        r"\b(?:no|not|nor|neither|never|without|absence\W+of|absent|lack(?:s|ing|\W+of)?|free\W+(?:of|from)|clear\W+of|"
        r"devoid\W+of|negative\W+for|none\W+of|rather\W+than)\b",
        r"n['’]t\b",
        r"\b(?:no|not|nothing|without|none)\b(?:\W+\w+){0,4}?\W+(?:suggest\w*|indicat\w*|suspicious|concern(?:ing)?|suspicion)"
        r"(?:\W+(?:of|for))?\b",
        r"\b(?:rules?|ruled|ruling)\W+out\b|\bexcludes\b",
        rf"\b{_CANNOT}{_ADVERBS}\W+(?:see|identify|find|detect|make\W+out|recogni[sz]e)\b",
        r"\bfails?\W+to\W+(?:show|demonstrate|reveal)\b",
    ),
    _trigger(
        "denied",
        "both",
        rf"\b(?:{_BE}|does|do|did|has|have){_ADVERBS}\W+(not|never)\b",
        r"\b(?:is|are|was|were|does|do|did|has|have)n['’]t\b",
        rf"\bnot\W+(?:{_SEEN}|enlarged|widened|fractured|displaced|blunted|dilated|increased|shifted|involved|affected)\b",
        rf"\b{_SHOWS}\W+(no)\b",
        r"(?:[:=(–—]|\s-)\s*(no|not|without)\b",
    ),
    _trigger(
        "denied",
        "backward",
        r"\b(?:absent|none|nil|negative|lacking|ruled\W+out|excluded|nowhere|gone|removed|withdrawn|taken\W+out)\b",
        r"\b(without)\W+(?:\w+\W+){0,2}?(?:abnormalit\w+|patholog\w+|enlargement|widening|blunting|deformit\w+|fractures?)\b",
    ),
    _trigger("denied", "backward", rf"\b{_NORMAL}\b", kinds=_STRUCTURES),
    _trigger(
        "denied",
        "forward",
        r"(?:^|[,:;(]\s*|\b(?:with|of|the|a|an|and|or|shows?|demonstrates?|has|there\W+(?:is|are)|otherwise|grossly|"
        r"entirely|completely|stable)\W+)((?:normal|unremarkable|intact|sharp|clear(?=\W+(?:costo|pleural|lung|left|right|"
        r"lobe|bilateral)))(?:ly)?)\b",
        kinds=_STRUCTURES,
        window=2,
    ),
)


@dataclass(frozen=True)
class _Found:
    """A trigger where it stands in a sentence."""

    trigger: _Trigger
    start: int
    end: int

    @property
    def status(self) -> Status | None:
        return self.trigger.status


def _triggers_of(sentence: str) -> list[_Found]:
    found = [
        _Found(trigger, *match.span(match.lastindex or 0))
        for trigger in _TRIGGERS
        for pattern in trigger.patterns
        for match in pattern.finditer(sentence)
    ]
    return [one for one in found if not any(_inside(one, other) for other in found)]


def _inside(one: _Found, other: _Found) -> bool:
    """Whether a longer trigger holds this one, which then does not act: "not only" holds "not"."""
    return other.start <= one.start and one.end <= other.end and other.end - other.start > one.end - one.start


# Scope

_TERMINATION = re.compile(
    r";|\s[-–—]\s|—|\b(?:but|however|although|though|yet|except|apart\W+from|aside\W+from|other\W+"
    r"than|besides|while|whilst|whereas|nevertheless|because|due\W+to|owing\W+to|secondary\W+to|so\W+that|which)\b",
    re.IGNORECASE,
)
_FIELD = re.compile(r"[,.]\s*\w+(?:\s\w+){0,2}:")
_WITH = re.compile(r"\b(?:with|and\W+without)\b", re.IGNORECASE)
_NEW_CLAUSE = re.compile(r"\b(?:with|without|and\W+(?:an?|there))\b", re.IGNORECASE)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|can|could|shows?|appears?|remains?|suggests?|demonstrates?|there|lies|measures?)\b",
    re.IGNORECASE,
)
_LINK_AT_END = re.compile(
    rf"(?:\b(?:(?:(?:has|have|had|can|could)\W+(?:\w+\W+)?)?{_BE}|{_SHOWS}|does|do|did)\b{_ADVERBS}(?:\W+(?:of|in))?|[:=(–—-])\W*$",
    re.IGNORECASE,
)
_PREDICATE = re.compile(
    rf"[^,;]*?\b(?:is|are|was|were|appears?|remains?|looks?|measures?|shows?|has|have)\b(?!\W+(?:not\W+)?(?:clearly\W+)?{_SEEN})",
    re.IGNORECASE,
)
_NEW_ITEM = re.compile(
    r"\W*(?:and\W+)?(?:a|an|the|there|this|mild\w*|moderate\w*|severe\w*|small|large|slight\w*|marked\w*|minimal\w*|subtle|"
    r"increased|unchanged|stable|probabl[ey]|possibl[ey])\b",
    re.IGNORECASE,
)
_BREAK = re.compile(r",|\band\b", re.IGNORECASE)
_SEPARATOR = re.compile(r",|\b(?:and|or|nor)\b", re.IGNORECASE)
_OR = re.compile(r"\bn?or\b", re.IGNORECASE)
_CONJUNCTION = re.compile(r"\b(?:and|n?or)\b", re.IGNORECASE)
_PREPOSITION = re.compile(r"\b(?:in|of|for|on|from|since|at|to|with)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_WHETHER = re.compile(r"\b(?:whether|if|which|what|where)\b", re.IGNORECASE)
_DOUBT = re.compile(r"un(?:clear|certain)|indeterminate|may|could", re.IGNORECASE)
_FOR_COMPARISON = re.compile(r"\bfor\W+comparison$", re.IGNORECASE)
_HEAT = re.compile(r"\b(?:heat\W?maps?|grad\W?cam|saliency|activation)\b", re.IGNORECASE)
_PICTURE_BEFORE = re.compile(rf"\b{_PICTURE_WORD}['’]?s?\W+(?:(?:upper|lower)\W+)?$", re.IGNORECASE)
_SIDE_IN_BODY = re.compile(rf"{_ANATOMY}\b|lateral|patient|body", re.IGNORECASE)
_TOPIC = re.compile(
    rf"age|sex|gender|measurements?|laterality|comparisons?.*|priors|.*{_EARLIER}(?:\W+\w+)?\W+{_IMAGING}|"
    r"patient.*|sides?\W+of\b.*|(?:which|one|affected|same|opposite)\W+sides?|.*(?:left|right)\W+(?:and|or|from|versus|vs\.?|to)\b.*",
    re.IGNORECASE | re.DOTALL,
)
"""Mentions that name a question, not an answer: "no prior images" and "sex: none" say that it is open."""


_PRECEDENCE: tuple[Status, ...] = ("not assessable", "hedged", "denied")
"""Which status wins where triggers of several reach a mention: "probably no effusion" hedges."""


@dataclass(frozen=True)
class _Mention:
    """Words of a kind where they stand in a sentence."""

    sentence: str
    kind: str
    start: int
    end: int

    @property
    def words(self) -> str:
        return self.sentence[self.start : self.end]

    @property
    def is_topic(self) -> bool:
        return _TOPIC.fullmatch(self.words) is not None

    @property
    def is_change(self) -> bool:
        """Whether it compares: "no change" still says that there was something to compare with."""
        return self.kind == "comparison" and not self.is_topic

    @property
    def describes_patient(self) -> bool:
        """Whether it is like "boy": words that a "no" or "possible" earlier in the sentence hardly ever speaks of."""
        return self.kind in ("age", "sex") and not self.is_topic


def _claims_of(sentence: str) -> list[Claim]:
    mentions = [
        _Mention(sentence, kind, match.start(), match.end())
        for kind, pattern in LEXICON.items()
        for match in pattern.finditer(sentence)
        if not (kind == "side" and _of_picture(sentence, match))
    ]
    triggers = _triggers_of(sentence) if mentions else []
    mentions.sort(key=lambda mention: (mention.start, mention.end))
    return [Claim(mention.kind, mention.words, _status(mention, triggers), sentence) for mention in mentions]


def _of_picture(sentence: str, match: re.Match[str]) -> bool:
    """Whether a side without anatomy is one of the picture, as "image left" and places in the heat map are."""
    before = sentence[: match.start()]
    return not _SIDE_IN_BODY.search(match.group()) and bool(_HEAT.search(before) or _PICTURE_BEFORE.search(before))


def _status(mention: _Mention, triggers: Sequence[_Found]) -> Status:
    near = [found for found in triggers if found.end > mention.start - _REACH and found.start < mention.end + _REACH]
    forward = [found for found in near if found.start <= mention.start and _reaches_forward(found, mention)]
    backward = [found for found in near if found.start >= mention.end and _reaches_backward(found, mention)]
    statuses = {
        *(_of_topic(found, mention) if mention.is_topic else found.status for found in _nearest(forward)),
        *(_of_topic(found, mention) if mention.is_topic else found.status for found in backward),
    }
    return next((status for status in _PRECEDENCE if status in statuses), "affirmed")


def _nearest(forward: Sequence[_Found]) -> list[_Found]:
    """Keep the last trigger of each status: in "no data: no age" the second "no" speaks of the age."""
    return list({found.status: found for found in sorted(forward, key=lambda found: found.start)}.values())


def _of_topic(found: _Found, mention: _Mention) -> Status | None:
    """Return the status of an open question: not assessable where the trigger denies or doubts the answer itself."""
    if found.start >= mention.end:
        direct = True
    else:
        between = mention.sentence[found.end : mention.start]
        direct = len(_WORD.findall(_last_item(between))) <= 2 and not _PREPOSITION.search(between)
        direct |= _FOR_COMPARISON.search(mention.sentence[: mention.end]) is not None
    doubts = found.status == "denied" or _DOUBT.search(mention.sentence[found.start : found.end])
    if direct and doubts:
        return "not assessable"
    return None if mention.kind == "comparison" and found.status == "denied" else found.status


def _concerns(found: _Found, mention: _Mention) -> bool:
    return mention.kind in found.trigger.kinds and not (mention.is_change and found.status == "denied")


def _reaches_forward(found: _Found, mention: _Mention) -> bool:
    trigger, sentence = found.trigger, mention.sentence
    between = sentence[found.end : mention.start]
    lists = sentence[found.end :].lstrip().startswith(":")  # "Not assessable: heart, bones"
    if not _concerns(found, mention) or (trigger.acts == "backward" and not lists):
        return False
    if (
        _TERMINATION.search(between)
        or _FIELD.search(between)
        or len(_WORD.findall(_last_item(between))) > trigger.window
    ):
        return False
    if mention.describes_patient and found.status != "not assessable" and _PREPOSITION.search(between):
        return False
    if (found.status == "denied" and _WITH.search(between)) or (trigger.window < _WINDOW and "," in between):
        return False
    rest = sentence[found.end : mention.end + _REACH]
    return not any(_ends_list(found.status, rest, cut) for cut in _BREAK.finditer(between))


def _ends_list(status: Status | None, rest: str, cut: re.Match[str]) -> bool:
    """Whether a comma or an "and" after a trigger begins something that the trigger does not speak of."""
    before, after, comma = rest[: cut.start()], rest[cut.end() :], cut.group() == ","
    if _PREDICATE.match(after) and not _WHETHER.search(after):
        return True
    if status == "not assessable":
        return False
    if comma and _OR.search(before) and not _CONJUNCTION.match(after.lstrip()):
        return True
    if comma and status == "hedged" and not _CONJUNCTION.search(after) and not rest.startswith(":"):
        return True
    return _NEW_ITEM.match(after) is not None and not _OR.search(after)


def _reaches_backward(found: _Found, mention: _Mention) -> bool:
    trigger = found.trigger
    if not _concerns(found, mention) or trigger.acts == "forward":
        return False
    between = mention.sentence[mention.end : found.start]
    if _FIELD.search(between):
        return False
    between = _LINK_AT_END.sub("", between)
    if _TERMINATION.search(between) or _NEW_CLAUSE.search(between):
        return False
    if found.status == "not assessable":
        return _WHETHER.search(mention.sentence[: mention.start]) is not None or _VERB.search(between) is None
    if mention.describes_patient or _VERB.search(between) or len(_WORD.findall(between)) > _WINDOW:
        return False
    return "," not in between or _CONJUNCTION.search(between.rpartition(",")[2]) is not None


def _last_item(between: str) -> str:
    return _SEPARATOR.split(between)[-1]
