"""What a sentence says of what it mentions: affirmed, denied, hedged or not assessable, by triggers and their scope.

The method is that of NegEx (Chapman et al., "A Simple Algorithm for Identifying Negated Findings and Diseases in
Discharge Summaries", Journal of Biomedical Informatics, 2001) and ConText (Harkema et al., same journal, 2009): a
trigger such as "no" or "cannot be excluded" gives its status to the mentions after or before it, up to where its scope
ends.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Status = Literal["affirmed", "denied", "hedged", "not assessable"]

LONGEST_SENTENCE = 1_000
"""Characters of the longest sentence that is read as one."""

CHANGED = r"(?:changed|improved|worsened|progressed|resolved|increased|decreased|regressed|cleared|grown|enlarged)"
"""Pattern of the participles of a comparison over time."""
NO_CHANGE = r"(?:increase|decrease|change|improvement|worsening|progression)s?"
"""Pattern of the nouns of a comparison over time, as they stand after "no"."""


@dataclass(frozen=True)
class Mention:
    """Words of a kind where they stand in a sentence.

    Attributes:
        sentence: the sentence.
        kind: what they name, "effusion" for instance.
        start: where the words begin, in characters from the start of the sentence.
        end: where they end, exclusive.
        is_topic: whether they name a question, not an answer, as "sex" does.
        is_change: whether they compare: "no change" still says that there was something to compare with.
        is_structure: whether they name something that can be normal, as "heart" does.
        describes_patient: whether they are like "boy": words that a "no" or "possible" earlier in the sentence hardly
            ever speaks of.
    """

    sentence: str
    kind: str
    start: int
    end: int
    is_topic: bool = False
    is_change: bool = False
    is_structure: bool = False
    describes_patient: bool = False

    @property
    def words(self) -> str:
        """The words themselves."""
        return self.sentence[self.start : self.end]


_PRECEDENCE: tuple[Status, ...] = ("not assessable", "hedged", "denied")
"""Which status wins where triggers of several reach a mention: "probably no effusion" hedges."""


def read_statuses(sentence: str, mentions: Sequence[Mention], *, likely_commits: bool = False) -> list[Status]:
    """Read what a sentence says of its mentions.

    Args:
        sentence: one sentence.
        mentions: mentions in that sentence.
        likely_commits: whether "likely" and "probable" affirm and "unlikely" denies; else they hedge.

    Returns:
        The status of each mention; "affirmed" where no trigger reaches it.
    """
    triggers = _triggers_of(sentence, likely_commits) if mentions else []
    return [_status(mention, triggers) for mention in mentions]


def statuses_in(text: str) -> set[Status]:
    """Read which statuses a text gives to anything, whatever that is; "likely" commits."""
    return {
        found.status
        for piece in pieces(text)
        for found in _triggers_of(piece, likely_commits=True)
        if found.status and not _PLACE.fullmatch(piece[found.start : found.end])
    }


def pieces(sentence: str) -> Iterator[str]:
    """Cut what is too long for a sentence, after a comma or else a space: its words are compared with one another."""
    while len(sentence) > LONGEST_SENTENCE:
        places = (sentence.rfind(mark, 1, LONGEST_SENTENCE) + 1 for mark in (",", " "))
        cut = next(filter(None, places), LONGEST_SENTENCE)
        yield sentence[:cut]
        sentence = sentence[cut:].lstrip()
    if sentence:
        yield sentence


def negations_before(mention: Mention) -> list[str]:
    """Find what stands between each negation before a mention and the mention itself, the nearest last."""
    found = [one for one in _triggers_of(mention.sentence, likely_commits=True) if one.status == "denied"]
    ends = sorted(one.end for one in found if one.end <= mention.start)
    return [mention.sentence[end : mention.start] for end in ends]


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
_PLACE = re.compile(r"central|midline|whole", re.IGNORECASE)  # normal of a structure, and nothing of an opacity
_LIKELY = re.compile(r"(?:likely|probabl[ey]|presum\w+)\W*", re.IGNORECASE)
_UNLIKELY = re.compile(r"\b(?:unlikely|less likely|improbabl[ey]|doubtful)\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Trigger:
    """Words that give a status to the mentions after them ("forward"), before them ("backward"), or both.

    Without a status they only keep the triggers inside them from acting, as "not only" does. Where a pattern has a
    group, only the group is the trigger, and the rest its surroundings.
    """

    status: Status | None
    acts: Literal["forward", "backward", "both"]
    patterns: tuple[re.Pattern[str], ...]
    only: Literal["all", "structures", "measurements"] = "all"
    window: int = _WINDOW


def _trigger(
    status: Status | None,
    acts: Literal["forward", "backward", "both"],
    *patterns: str,
    only: Literal["all", "structures", "measurements"] = "all",
    window: int = _WINDOW,
) -> _Trigger:
    return _Trigger(status, acts, tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns), only, window)


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
        rf"\b(?:no|without)\W+(?:\w+\W+){{0,2}}?{NO_CHANGE}\b",
        rf"\b(?:has|have)\W+not\W+(?:\w+ly\W+)?{CHANGED}\b",
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
        only="measurements",
    ),
    # Hedged
    _trigger(
        "hedged",
        "forward",
        r"\b(?:possibl[ey]|possibility|probabl[ey]|probability\W+of|perhaps|maybe|may|might|could|potential(?:ly)?|"
        r"presum(?:ed|ably|able)|uncertain\w*|likely|unlikely|doubtful|equivocal|query|borderline)\b",
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
    _trigger("denied", "backward", rf"\b{_NORMAL}\b", only="structures"),
    _trigger(
        "denied",
        "forward",
        r"(?:^|[,:;(]\s*|\b(?:with|of|the|a|an|and|or|shows?|demonstrates?|has|there\W+(?:is|are)|otherwise|grossly|"
        r"entirely|completely|stable)\W+)((?:normal|unremarkable|intact|sharp|clear(?=\W+(?:costo|pleural|lung|left|right|"
        r"lobe|bilateral)))(?:ly)?)\b",
        only="structures",
        window=2,
    ),
)


@dataclass(frozen=True)
class _Found:
    """A trigger where it stands in a sentence."""

    trigger: _Trigger
    status: Status | None
    start: int
    end: int


@lru_cache(maxsize=16)  # of one sentence all that is asked is asked in a row
def _triggers_of(sentence: str, likely_commits: bool) -> list[_Found]:
    found = [
        _Found(trigger, _status_given(trigger, match, likely_commits), *match.span(match.lastindex or 0))
        for trigger in _TRIGGERS
        for pattern in trigger.patterns
        for match in pattern.finditer(sentence)
    ]
    return [one for one in found if not any(_inside(one, other) for other in found)]


def _status_given(trigger: _Trigger, match: re.Match[str], likely_commits: bool) -> Status | None:
    words = match[match.lastindex or 0]
    if trigger.status != "hedged" or not likely_commits:
        return trigger.status
    if _UNLIKELY.search(words):
        return "denied"
    return None if _LIKELY.fullmatch(words) else "hedged"


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


def _status(mention: Mention, triggers: Sequence[_Found]) -> Status:
    near = [found for found in triggers if found.end > mention.start - _REACH and found.start < mention.end + _REACH]
    backward = [found for found in near if found.start >= mention.end and _reaches_backward(found, mention)]
    reaching = [*_nearest_forward(near, mention), *backward]
    statuses = {_of_topic(found, mention) if mention.is_topic else found.status for found in reaching}
    return next((status for status in _PRECEDENCE if status in statuses), "affirmed")


def _nearest_forward(near: Sequence[_Found], mention: Mention) -> Iterable[_Found]:
    """Find the last trigger of each status that reaches it: in "no data: no age" the second "no" speaks of the age."""
    last: dict[Status | None, _Found] = {}
    before = (found for found in reversed(near) if found.start <= mention.start)
    for found in sorted(before, key=lambda found: found.start, reverse=True):
        if found.status not in last and _reaches_forward(found, mention):
            last[found.status] = found
    return last.values()


def _of_topic(found: _Found, mention: Mention) -> Status | None:
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


def _concerns(found: _Found, mention: Mention) -> bool:
    fits = {"all": True, "structures": mention.is_structure, "measurements": mention.kind == "measurement"}
    return fits[found.trigger.only] and not (mention.is_change and found.status == "denied")


def _reaches_forward(found: _Found, mention: Mention) -> bool:
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


def _reaches_backward(found: _Found, mention: Mention) -> bool:
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
