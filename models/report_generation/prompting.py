"""Prompting strategies: text files that say how a language model is asked for a report."""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from models.bounded_file import read_file
from models.bounds import TEXT_BYTES
from models.errors import InputError
from models.report_generation.schema import Answer, Case, Request
from models.text import printable

YES_NO = "yes_no"
"""The strategy that asks a question instead of a report; its answer is the probability of yes."""

FOLDER = Path(__file__).parent / "prompts"
NO_PROBABILITY = "no probability is available"

Output = Literal["free_text", "json", "yes_no"]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def _probability(case: Case) -> str:
    return NO_PROBABILITY if case.probability is None else f"{case.probability:.2f}"


def _threshold(case: Case) -> str:
    return f"{case.threshold:.2f}"


def _neighbours(case: Case) -> str:
    known = [f"{neighbour.label} (similarity {neighbour.similarity:.2f})" for neighbour in case.neighbours]
    return ", ".join(known) or "none are available"


VARIABLES: dict[str, Callable[[Case], str]] = {
    "probability": _probability,
    "threshold": _threshold,
    "neighbours": _neighbours,
}
"""What a prompt may hold between double braces, and how it is worded for a case."""


class Strategy(BaseModel):
    """One way to ask.

    Attributes:
        name: its name, and its file's.
        position: place among the strategies, in forms and tables.
        version: raised by one whenever the texts change.
        description: what is special about it, for people.
        output: form of the answer that it asks for.
        max_new_tokens: length at which an answer is cut off, in tokens.
        system: system message, or None.
        user: the prompt; `{{variable}}` stands for one of `VARIABLES`.
        paraphrase: the same prompt in other words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Text
    position: int = Field(ge=0)
    version: int = Field(ge=1)
    description: Text
    output: Output
    max_new_tokens: int = Field(ge=1)
    system: Text | None
    user: Text
    paraphrase: Text

    @model_validator(mode="after")
    def _check_variables(self) -> Self:
        for text in (self.system or "", self.user, self.paraphrase):
            if unknown := variables_of(text) - set(VARIABLES):
                raise ValueError(f"unknown variables {sorted(unknown)}; there are {sorted(VARIABLES)}")
            if re.search(r"\{\{|\}\}", _PLACEHOLDER.sub("", text)):
                raise ValueError("double braces that enclose no variable")
        if variables_of(self.user) != variables_of(self.paraphrase):
            raise ValueError("the prompt and its paraphrase hold different variables")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides the answers: every field but position and description."""
        decisive = json.dumps(self.model_dump(exclude={"position", "description"}), sort_keys=True)
        return hashlib.sha256(decisive.encode()).hexdigest()


@dataclass(frozen=True)
class Rendered:
    """What the language model is told.

    Attributes:
        system: system message, or None.
        user: prompt.
    """

    system: str | None
    user: str


def variables_of(text: str) -> frozenset[str]:
    """Find the variables that a prompt holds between double braces."""
    return frozenset(_PLACEHOLDER.findall(text))


@functools.cache
def load_strategy(name: str) -> Strategy:
    """Find one of the strategies that come with the package.

    Args:
        name: one of `STRATEGIES`, or `YES_NO`.

    Returns:
        The strategy.

    Raises:
        InputError: there is none of that name, or its file is damaged.
    """
    known = (*STRATEGIES, YES_NO)
    if name not in known:
        raise InputError(f"There is no prompting strategy {name!r}: choose one of {', '.join(known)}.")
    return read_strategy(FOLDER / f"{name}.yaml")


def read_strategy(path: Path) -> Strategy:
    """Read a strategy from its file.

    Args:
        path: a YAML file with the fields of `Strategy`.

    Returns:
        The strategy.

    Raises:
        InputError: the file cannot be read, is not such a file, or names a strategy other than itself.
    """
    try:
        strategy = Strategy.model_validate(yaml.safe_load(read_file(path, TEXT_BYTES).decode()))
    except ValidationError as error:
        first = error.errors()[0]
        where = printable(".".join(str(part) for part in first["loc"]) or "the whole")
        raise InputError(
            f"The prompt file {printable(path)} does not fit the schema: {where}: {printable(first['msg'])}."
        ) from error
    except (
        OSError,
        ValueError,
        TypeError,
        RecursionError,
        yaml.YAMLError,
    ) as error:  # a date of month 13, for instance
        raise InputError(f"The prompt file {printable(path)} cannot be read as YAML: {printable(error)}.") from error
    if strategy.name != path.stem:
        raise InputError(
            f"The prompt file {printable(path)} is named after '{printable(path.stem, 50)}' but holds "
            f"'{printable(strategy.name, 50)}': rename one."
        )
    return strategy


STRATEGIES: tuple[str, ...] = tuple(
    strategy.name
    for strategy in sorted(map(read_strategy, FOLDER.glob("*.yaml")), key=lambda one: (one.position, one.name))
    if strategy.name != YES_NO
)
"""Strategies that ask for a report: every file of the folder, in the order of their positions."""


def render(strategy: Strategy, request: Request, system: str | None = None) -> Rendered:
    """Word a prompt for a request.

    Args:
        strategy: how to ask.
        request: what for; under the control "paraphrase" the strategy's other words are used.
        system: system message for a strategy that has none of its own, or None.

    Returns:
        The messages, without the image.
    """
    user = strategy.paraphrase if request.control == "paraphrase" else strategy.user
    return Rendered(
        system=system if strategy.system is None else _fill(strategy.system, request.case),
        user=_fill(user, request.case),
    )


def plain_reports(answers: Iterable[Answer]) -> list[Answer]:
    """Pick the answers to requests for a report under no control; the yes-or-no question asks for none."""
    return [answer for answer in answers if answer.control == "none" and answer.strategy != YES_NO]


def _fill(text: str, case: Case) -> str:
    return _PLACEHOLDER.sub(lambda match: VARIABLES[match[1]](case), text)
