"""Words for what a small grey picture of a chest cannot show, by kind, and where they stand in a sentence.

The lexicon is made for chest radiographs and for the words of people who write about pictures.
"""

import re

from models.report_generation.assertion import CHANGED, NO_CHANGE, Mention

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
            rf"\b(?:no|without|any)\W+(?:\w+\W+){{0,2}}?{NO_CHANGE}\b",
            r"\bchanges?\W+(?:since|from|over\W+time)\b",
            r"\binterval\W+(?:change|increase|decrease|improvement|worsening|resolution|development|growth|progression)\b",
            rf"\b(?:has|have)\W+(?:not\W+)?(?:\w+ly\W+)?{CHANGED}\b",
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
"""The kinds of what the picture cannot show."""

_HEAT = re.compile(r"\b(?:heat\W?maps?|grad\W?cam|saliency|activation)\b", re.IGNORECASE)
_PICTURE_BEFORE = re.compile(rf"\b{_PICTURE_WORD}['’]?s?\W+(?:(?:upper|lower)\W+)?$", re.IGNORECASE)
_SIDE_IN_BODY = re.compile(rf"{_ANATOMY}\b|lateral|patient|body", re.IGNORECASE)
_TOPIC = re.compile(
    rf"age|sex|gender|measurements?|laterality|comparisons?.*|priors|.*{_EARLIER}(?:\W+\w+)?\W+{_IMAGING}|"
    r"patient.*|sides?\W+of\b.*|(?:which|one|affected|same|opposite)\W+sides?|.*(?:left|right)\W+(?:and|or|from|versus|vs\.?|to)\b.*",
    re.IGNORECASE | re.DOTALL,
)
"""Mentions that name a question, not an answer: "no prior images" and "sex: none" say that it is open."""


_STRUCTURES = ("lobe", "effusion", "heart size", "bones")


def find_mentions(sentence: str) -> list[Mention]:
    """Find the words of every kind in a sentence.

    Args:
        sentence: one sentence.

    Returns:
        The mentions in the order of the sentence, without the sides of the picture itself.
    """
    mentions = [
        _mention(sentence, kind, match)
        for kind, pattern in LEXICON.items()
        for match in pattern.finditer(sentence)
        if not (kind == "side" and _of_picture(sentence, match))
    ]
    return sorted(mentions, key=lambda mention: (mention.start, mention.end))


def _mention(sentence: str, kind: str, match: re.Match[str]) -> Mention:
    is_topic = _TOPIC.fullmatch(match.group()) is not None
    return Mention(
        sentence,
        kind,
        *match.span(),
        is_topic=is_topic,
        is_change=kind == "comparison" and not is_topic,
        is_structure=kind in _STRUCTURES,
        describes_patient=kind in ("age", "sex") and not is_topic,
    )


def _of_picture(sentence: str, match: re.Match[str]) -> bool:
    """Whether a side without anatomy is one of the picture, as "image left" and places in the heat map are."""
    before = sentence[: match.start()]
    return not _SIDE_IN_BODY.search(match.group()) and bool(_HEAT.search(before) or _PICTURE_BEFORE.search(before))
