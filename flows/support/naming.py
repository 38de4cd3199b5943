"""Names of runs, by which a person tells them apart: what differs from the values that the run starts from.

A run of a deployment starts from the deployment's values, one from the shell from its preset. What a person has named
stays as it is. Runs within a run are named like it. The MLflow run of a flow run takes the same name.
"""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from contextvars import ContextVar
from pathlib import PurePosixPath
from typing import Any

from coolname.data import config as words_of_slugs
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from models.text import printable
from tasks.parameters.base import Parameters

Values = Mapping[str, Mapping[str, Any]]

SEPARATOR = " · "
LONGEST_NAME = 100  # characters, as many as the lists of runs show; MLflow keeps 250
_LONGEST_VALUE = 40
_MOST_LISTED = 4  # values of a list; of a longer one the number is said
_SPEAKING = frozenset({
    "name", "architecture", "architectures", "loss", "losses", "schedule", "schedules", "generator", "strategies",
    "encoder", "encoders", "runner",
})  # fmt: skip
"""Fields whose values say by themselves what they are, `focal` for instance."""

_given: ContextVar[str | None] = ContextVar("given", default=None)


def run_name(subject: str | None = None) -> str:
    """Name the flow run that begins, for Prefect, which calls it once the parameters are read.

    Args:
        subject: parameter that is named first, where a flow runs several times within another.

    Returns:
        The name that a person gave; else the one given with `named`; else that of the run around this one; else what
        differs from the deployment's values; else the name of the deployment.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None, "Prefect calls this within a flow run"
    known, parameters = context.flow_run.name, context.parameters or {}
    if not is_generated(known):
        return known
    name = _given.get() or _name_around() or _from_start(context.flow_run, parameters)
    return name if subject is None else f"{parameters[subject]}{SEPARATOR}{name}"


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Give a name to the runs that begin here in this process."""
    token = _given.set(name)
    try:
        yield
    finally:
        _given.reset(token)


def difference(parameters: Mapping[str, Any], start: Values) -> str:
    """Say in words in which fields the forms of a run differ from the values that it starts from.

    Args:
        parameters: the forms by name; what is no form is passed over.
        start: values by form and field; a field that is missing has its form's default.

    Returns:
        `limit 160 · 1 epoch · focal` for instance; empty where nothing differs.
    """
    words = []
    for name, form in parameters.items():
        if isinstance(form, Parameters):
            words += list(_words(form, start.get(name) or {}))
    return _joined(words)


def in_words(form: Parameters, fields: Collection[str]) -> str:
    """Say in words what some fields of a form hold, as in `focal · seed 1`."""
    values = form.model_dump(mode="json")
    return _joined([_word(form, name, values[name]) for name in fields])


def is_generated(name: str) -> bool:
    """Tell whether nobody chose a name: Prefect's server made it of two words, or its UI proposed it."""
    first, _, second = name.partition("-")
    return (first in _ADJECTIVES and second in _NOUNS) or _PROPOSED.fullmatch(name) is not None


def _vocabulary(name: str) -> frozenset[str]:
    entry = _WORDS[name]
    return frozenset(entry.get("words", ())).union(*map(_vocabulary, entry.get("lists", ())))


_WORDS: dict[str, Any] = dict(words_of_slugs)
_ADJECTIVES, _NOUNS = (_vocabulary(name) for name in _WORDS["an"]["lists"])
PROPOSED_ADJECTIVES = (
    "Awesome", "Rustic", "Small", "Gorgeous", "Fantastic", "Sleek", "Intelligent", "Unbranded", "Refined", "Licensed",
    "Generic", "Practical", "Ergonomic", "Handcrafted", "Tasty", "Handmade", "Incredible",
)  # fmt: skip
"""First words of the names that the form of the UI proposes; the second is an animal of at most six letters."""
_PROPOSED = re.compile(rf"(?:{'|'.join(PROPOSED_ADJECTIVES)})-[A-Z].{{1,5}}")


def _name_around() -> str | None:
    around = flow_run.parent_flow_run_id
    if around is None:
        return None
    with get_client(sync_client=True) as client:
        return str(client.read_flow_run(around).name)


def _from_start(run: FlowRun, parameters: Mapping[str, Any]) -> str:
    if run.deployment_id is not None:
        with get_client(sync_client=True) as client, contextlib.suppress(ObjectNotFound):  # it may be deleted by now
            deployment = client.read_deployment(run.deployment_id)
            return difference(parameters, deployment.parameters) or deployment.name
    return difference(parameters, {}) or "standard"


def _words(form: Parameters, start: Mapping[str, Any]) -> Iterator[str]:
    for name, value in form.model_dump(mode="json").items():
        default = type(form).model_fields[name].get_default(call_default_factory=True)
        if value != start.get(name, default):
            yield _word(form, name, value)


def _word(form: Parameters, name: str, value: Any) -> str:
    title = type(form).model_fields[name].title or name
    first, _, rest = title.partition(" ")
    if first[1:] in ("", first[1:].lower()):  # `Seed`, but not `EMA`
        title = f"{first.lower()} {rest}".strip()
    if value is None or value is False or value == []:
        return f"no {title}"
    if value is True:
        return title
    if isinstance(value, list):
        if len(value) > _MOST_LISTED:
            return f"{len(value)} {title}"
        text = ", ".join(map(_text, value))
        return text if name in _SPEAKING else f"{title} {text}"
    counted = re.search(r"\w\ws\b", title)
    if isinstance(value, int) and counted:  # `epochs`: 1 epoch, 2 epochs
        return f"{value} {title}" if value != 1 else f"1 {title[: counted.end() - 1]}{title[counted.end() :]}"
    return _text(value) if name in _SPEAKING else f"{title} {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str) and not re.search(r"\s", value):
        value = PurePosixPath(value).name or value  # of a path or a hub id the last part: folders tell no runs apart
    return printable(value, _LONGEST_VALUE)


def _joined(words: Collection[str]) -> str:
    """Join as many words as a name takes, and say how many more there are."""
    name, left = "", list(words)
    while left and len(name) + len(left[0]) < LONGEST_NAME:
        name = SEPARATOR.join(filter(None, [name, left.pop(0)]))
    return f"{name}{SEPARATOR}{len(left)} more" if left else name
