"""Calls of a generative model and their prompts, as a tracker shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Prompt:
    """A prompt, for the tracker's registry.

    Attributes:
        name: registered name.
        template: messages, each with `role` and `content`.
        description: what it asks for.
        words: tags that are part of what is asked; where they or the template change, there is a new version.
        tags: other tags of a version.
    """

    name: str
    template: Sequence[Mapping[str, str]]
    description: str
    words: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelCall:
    """One call of a model that is over.

    Attributes:
        id: what tells it from the other calls of the run.
        name: what it is called.
        messages: what was asked, in OpenAI's format.
        outputs: what was answered; JSON values.
        seconds: how long it took.
        request_preview: what was asked, in short.
        response_preview: what was answered, in short.
        problem: why the answer is none; None where it is one.
        model: the language model; None where something else answered.
        tokens: number of tokens of the prompt and of the answer, where they are known.
        attributes: further facts.
        tags: what calls are searched by.
        feedback: what scorers found, by scorer; a number that is not finite is left out.
        prompt: registered name and version of its prompt, where it has one.
    """

    id: str
    name: str
    messages: Sequence[Mapping[str, Any]]
    outputs: Mapping[str, Any]
    seconds: float
    request_preview: str
    response_preview: str
    problem: str | None = None
    model: str | None = None
    tokens: tuple[int, int] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    feedback: Mapping[str, float | bool | str] = field(default_factory=dict)
    prompt: tuple[str, int] | None = None
