"""Reports written as JSON: the schema that bounds them, and the reading of them.

The bounds keep the longest answer near 1,200 characters, so that English text fits 400 tokens at three characters each.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from models.report_generation.schema import Finding, Presence, ReportContent
from models.report_generation.unreadable import UnreadableReport
from models.text import printable

# Private, without docstrings: pydantic would copy those into the schema, where they would change what is asked for.


class _Bounded(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Finding(_Bounded):
    name: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    presence: Presence
    detail: Annotated[str, StringConstraints(max_length=80)]


class _Answer(_Bounded):
    image_quality: Literal["adequate", "limited", "not assessable"]
    findings: Annotated[tuple[_Finding, ...], Field(min_length=1, max_length=3)]
    impression: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    differential: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=40)], ...], Field(max_length=3)
    ]
    label: Literal["normal", "pneumonia", "undetermined"]
    certainty: Literal["low", "moderate", "high"]
    limitations: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=60)], ...], Field(max_length=2)
    ]


def report_json_schema() -> str:
    """Write the JSON schema of an answer, every field of it bounded, for constrained decoding.

    Returns:
        The schema as JSON. Its fields stand in the order in which they are to be written: what is seen before what is
        concluded.
    """
    return json.dumps(_Answer.model_json_schema())


def read_json(text: str) -> ReportContent:
    """Read the one JSON object in a text, fenced or with words around it.

    It must fit the schema: a field too many, too few, too long or given twice is refused, and so is a second object.

    Args:
        text: the answer.

    Returns:
        What it says; the label "undetermined" becomes none.

    Raises:
        UnreadableReport: there is no such object.
    """
    written = _only_object(text)
    try:
        answer = _Answer.model_validate_json(written)
    except ValidationError as error:
        first = error.errors()[0]
        where = printable(".".join(str(part) for part in first["loc"]))  # of a name that the model made up
        raise UnreadableReport(f"The JSON does not fit the schema: {where}: {printable(first['msg'])}.") from error
    words = (answer.impression, *(finding.name for finding in answer.findings))
    if not all(any(character.isalpha() for character in part) for part in words):
        raise UnreadableReport("The JSON holds an impression or the name of a finding without words.")
    return ReportContent(
        findings=tuple(Finding(name=f.name, presence=f.presence, detail=f.detail) for f in answer.findings),
        impression=answer.impression,
        differential=answer.differential,
        label=None if answer.label == "undetermined" else answer.label,
        certainty=answer.certainty,
        image_quality=answer.image_quality,
        limitations=answer.limitations,
    )


def _only_object(text: str) -> str:
    start = text.find("{")
    if start < 0:
        raise UnreadableReport("There is no JSON object in it.")
    try:  # whole numbers as floats: Python refuses to read one of very many digits
        _, end = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_int=float).raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise UnreadableReport(f"The JSON is damaged or cut off at character {error.pos}: {error.msg}.") from error
    except RecursionError as error:
        raise UnreadableReport("The JSON is nested too deeply.") from error
    if "{" in text[end:]:
        raise UnreadableReport("There is more than one JSON object in it.")
    return text[start:end]


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadableReport("The JSON gives a field twice.")
    return found
