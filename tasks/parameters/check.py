"""What is wrong with the parameters of a run, in one sentence."""

import difflib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from models.errors import InputError
from models.text import printable
from tasks.parameters.base import Parameters
from tasks.parameters.forms import FORMS

_MOST_MISTAKES = 3  # named in the sentence
_QUOTED = 40  # characters of a value


def check_parameters(given: Mapping[str, Any], names: Collection[str]) -> None:
    """Refuse parameters that a flow would not take.

    Args:
        given: a value for each form, as JSON has it.
        names: of the forms that the flow takes.

    Raises:
        InputError: the sentence names each mistake with its form and field, what would be right, and the nearest name
            where one is misspelt.
    """
    mistakes = [_misspelt(name, "parameter", names) for name in given if name not in names]
    for name, values in given.items():
        form = FORMS.get(name) if name in names else None
        if form is not None:
            try:
                form.model_validate(values)
            except ValidationError as error:
                mistakes += [_mistake(name, form, found) for found in error.errors()]
    if mistakes:
        more = len(mistakes) - _MOST_MISTAKES
        told = mistakes[:_MOST_MISTAKES] + ([f"and {more} more"] if more > 0 else [])
        raise InputError(f"{'; '.join(told)}.")


def _mistake(name: str, form: type[Parameters], found: ErrorDetails) -> str:
    path = [name, *map(str, found["loc"])]
    where = printable(".".join(path), _QUOTED)
    if found["type"] == "extra_forbidden":
        return _misspelt(path[-1], f"field of {'.'.join(path[:-1])}", form.model_fields if len(path) == 2 else ())
    given = printable(json.dumps(found["input"], ensure_ascii=False, default=str), _QUOTED)
    if found["type"] == "literal_error":
        choices = str(found["ctx"]["expected"])
        nearest = _nearest(str(found["input"]), re.findall("'([^']+)'", choices))
        return f"{where} is {given}, not {choices}{nearest}"
    if found["type"].startswith("model_"):
        return f"{where} is {given}, but it has fields, such as {next(iter(form.model_fields))}"
    return f"{where} is {given}: {found['msg'][:1].lower()}{found['msg'][1:]}"


def _misspelt(name: str, kind: str, names: Collection[str]) -> str:
    nearest = _nearest(name, names)
    choices = f", choose from {', '.join(names)}" if names else ""
    return f"{printable(name, _QUOTED)} is no {kind}{nearest}{choices}"


def _nearest(name: str, names: Collection[str]) -> str:
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {found[0]}?)" if found else ""
