"""Reports written as free text, in plain lines or Markdown.

How a text is read:

1. Markup is taken away: HTML tags, code fences, bold and italic marks.
2. A known title at the start of a line, or after a full stop or comma within one, opens a section if a colon follows or
   the line holds nothing else. It may be numbered, bulleted or a heading, in any case. Missing sections stay empty.
   Text under no title is the impression if there is none, except a line that ends in a colon ("Here is the report:").
   Technique, comparison, history, advice and what else is left over have no place in a report; they are kept aside.
3. The label comes from the label lines alone if there is one with a value: the class that it names, or none if it names
   neither, both or a third thing, or if two such lines differ. Only without such a line does the impression decide, by
   the rules of `wording`: none where it contradicts itself or leaves the matter open.
4. A finding is a line of its section, or a sentence where the section is prose. What stands before a short colon is its
   name; else the whole sentence is. Words of negation and doubt decide its presence (`wording.presence_of`).
5. There is no report where there is neither a label line nor an impression, or where text without any title speaks
   neither of pneumonia nor of a normal image (a refusal, gibberish).
"""

import html
import re
from collections import defaultdict

from models.report_generation.schema import Finding, Label, ReportContent
from models.report_generation.unreadable import UnreadableReport
from models.report_generation.wording import label_of, presence_of, votes_of

_TITLES = {
    "findings": r"(?:key |radiographic |imaging )?findings?|observations?",
    "impression": r"(?:overall |final )?(?:impressions?|conclusions?|assessment|summary|interpretation|diagnosis)",
    "differential": r"differentials?(?: diagnos[ei]s)?(?: considerations?)?",
    "label": r"(?:final |predicted )?(?:label|classification)",
    "certainty": r"(?:certainty|confidence)(?: level)?",
    "image_quality": r"(?:image |picture |technical )?quality",
    "limitations": r"limitations?|disclaimer|caveats?",
    "aside": r"technique|comparison|(?:clinical )?(?:history|indication|information)|recommendations?|next steps",
}
_ANY_TITLE = "|".join(f"(?P<{section}>{words})" for section, words in _TITLES.items())
_LEAD = r"[\s#>•*+-]*(?:\d{1,2}[.)]\s*)?"
_TITLE = re.compile(rf"{_LEAD}(?:{_ANY_TITLE})(?:\s*\([^()]*\))?\s*(?:[:=]|\s[-–—]\s|$)\s*(?P<rest>.*)$", re.IGNORECASE)
_WITHIN_LINE = re.compile(
    rf"(?:(?<=[.;,])[ \t|]++|(?<![ \t|])[ \t]*+\|[ \t|]*+)(?=(?:{'|'.join(_TITLES.values())})\s*:)", re.IGNORECASE
)
_BULLET = re.compile(r"^\s*(?:[•*+-]+|\d{1,2}[.)])\s+")
_NAMED = re.compile(r"([^:.]{1,60}):\s+(\S.*)$")
_NOTHING = re.compile(r"\W*+(?:none|nil|n/?a|not applicable|no findings)?\W*+$", re.IGNORECASE)
_ONE_LINE = frozenset({"label", "certainty"})
_UNTITLED = "untitled"


def read_free_text(text: str) -> ReportContent:
    """Read a report out of free text by the rules of this module.

    Args:
        text: the answer.

    Returns:
        What it says.

    Raises:
        UnreadableReport: there is no report in it.
    """
    sections = _sections(_without_markup(text))
    values = [line for line in sections["label"] if not _NOTHING.match(line)]
    untitled = [line for line in sections.pop(_UNTITLED, []) if not line.endswith(":")]
    impression = " ".join(sections["impression"] or untitled)
    asides = (*sections["aside"], *(untitled if sections["impression"] else ()))
    titled = any(sections[title] for title in _TITLES)
    if not values and not _has_words(impression):
        raise UnreadableReport("There is neither a label nor an impression in it.")
    if not titled and not votes_of(impression):
        raise UnreadableReport("It has no titles and speaks neither of pneumonia nor of a normal image.")
    return ReportContent(
        findings=tuple(_finding(line) for line in _items(sections["findings"])),
        impression=impression,
        differential=tuple(_alternatives(sections["differential"])),
        label=_label(values) if values else label_of(impression),
        certainty=" ".join(sections["certainty"]).rstrip("."),
        image_quality=" ".join(sections["image_quality"]).rstrip("."),
        limitations=tuple(line for line in sections["limitations"] if not _NOTHING.match(line)),
        asides=asides,
    )


def _without_markup(text: str) -> str:
    text = re.sub(r"<(?:br|/?(?:p|div|li|ul|ol|tr|h\d))\b[^<>]*>", "\n", text, flags=re.IGNORECASE)
    text = html.unescape(re.sub(r"</?[a-zA-Z][^<>]*>", "", text))
    text = re.sub(r"^[^\S\n]*+```.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\*\*|__|`|(?<=\s)\*(?=\w)|(?<=[\w.:])\*", "", text)


def _sections(text: str) -> defaultdict[str, list[str]]:
    """Sort the lines, without their bullets, under the titles that they stand under."""
    sections: defaultdict[str, list[str]] = defaultdict(list)
    current = _UNTITLED
    for line in _WITHIN_LINE.sub("\n", text).splitlines():
        title = _TITLE.match(line)
        if title:
            current = next(section for section in _TITLES if title[section])
        content = _BULLET.sub("", title["rest"] if title else line).strip()
        if not content:
            continue
        sections[current].append(content)
        if current in _ONE_LINE:
            current = _UNTITLED
    return sections


def _items(lines: list[str]) -> list[str]:
    """Split a lone paragraph into sentences, each with its name if it has one; several lines are items already."""
    items: list[str] = []
    for part in re.split(r"(?<=[.!])\s+(?=[A-Z])", lines[0]) if len(lines) == 1 else lines:
        if len(lines) == 1 and items and _NAMED.match(items[-1]) and not _NAMED.match(part):
            items[-1] += f" {part}"
        else:
            items.append(part)
    return [item for item in items if not _NOTHING.match(item)]


def _finding(line: str) -> Finding:
    if named := _NAMED.match(line):
        return Finding(name=named[1].strip(), presence=presence_of(named[2]), detail=named[2].strip())
    return Finding(name=line.rstrip("."), presence=presence_of(line), detail="")


def _alternatives(lines: list[str]) -> list[str]:
    """Take each line for one alternative; split a lone line at semicolons, or at commas between short parts."""
    parts = lines
    if len(lines) == 1:
        separator = ";" if ";" in lines[0] else ","
        parts = [re.sub(r"^(?:and|or)\s+", "", part.strip()) for part in lines[0].split(separator)]
        if separator == "," and any(len(part.split()) > 5 for part in parts):
            parts = lines
    return [part.rstrip(".") for part in parts if not _NOTHING.match(part)]


def _label(values: list[str]) -> Label | None:
    labels = {label_of(value) for value in values}
    return labels.pop() if len(labels) == 1 else None


def _has_words(text: str) -> bool:
    return any(character.isalpha() for character in text)
