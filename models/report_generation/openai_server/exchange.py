"""What is asked of a server and how its answer is read: the chat completions of OpenAI's interface.

Only what the interface itself defines is sent, so that every server understands it.
"""

import base64
import io
import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.report_generation.schema import DecidedBy
from models.text import printable

SEED = 0
"""Of the sampling, which at temperature 0 has no choice; some servers want one all the same."""
LISTED_TOKENS = 20
"""Log-probabilities that are asked for: the most that the interface allows."""
CHOICE_TOKENS = 64
"""Limit on an answer that is a JSON object with one of the two choices."""

_ANSWER = re.compile(r'"answer"\s*:\s*"([^"]*)"')
_ERROR_CHARACTERS = 200
_ROUNDED = 1e-3  # by so much a server may round a log-probability above 0


@dataclass(frozen=True)
class Prompt:
    """One text that is asked for.

    Attributes:
        text: the user's message.
        system: the system message, or None.
        image: grey image, shape (height, width), 0–255, or None for no image.
        image_first: whether the image stands before the text of the message.
        max_tokens: limit on what is written, in tokens.
        json_schema: JSON schema that the answer is held to, or None for free text.
        choices: two answers of which the likelier one is wanted instead of a written text, or None.
    """

    text: str
    system: str | None = None
    image: NDArray[np.uint8] | None = None
    image_first: bool = True
    max_tokens: int = 256
    json_schema: str | None = None
    choices: tuple[str, str] | None = None


@dataclass(frozen=True)
class Completion:
    """An answer.

    Attributes:
        text: what was written, or the likelier choice.
        prompt_tokens: tokens of the prompt, those of the image among them where the server counts them.
        generated_tokens: tokens that were written.
        thought_tokens: how many of these were a thought before the answer, where the server says it.
        finish_reason: "stop" where the model ended the text, "length" where the limit did.
        seconds: from the first request to the answer.
        probability: of the first choice against the second, or None for a text.
        choice_mass: probability of both choices together, or None where it is not known.
        decided_by: how the choice was found out, or None for a text.
    """

    text: str
    prompt_tokens: int
    generated_tokens: int
    finish_reason: Literal["stop", "length"]
    seconds: float
    thought_tokens: int = 0
    probability: float | None = None
    choice_mass: float | None = None
    decided_by: DecidedBy | None = None


class RefusedError(Exception):
    """A server does not answer a request, in the server's words, or with something else."""


class NoCompletionError(Exception):
    """The answer of a model holds no text that could be used."""


Send = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Sends the body of a request for a chat completion and returns that of the answer, both as JSON values."""


async def ask(send: Send, model: str, prompt: Prompt) -> Completion:
    """Ask a server for one text, or which of two choices is the likelier.

    Of two choices the probabilities are taken from the log-probabilities of the first token. Where the server gives
    none, or neither choice is among those that it lists, the server has to write one of the two: then the score is 1
    or 0.

    Args:
        send: raises `RefusedError` where the server refuses a request.
        model: the name that the server has for the model.
        prompt: what is asked.

    Returns:
        The answer.

    Raises:
        RefusedError: the server refuses the request, or answers with something else.
        NoCompletionError: what the model answers holds no text.
    """
    started = time.perf_counter()
    if prompt.choices is None:
        reply = _Reply.read(await send(request(model, prompt)))
        return reply.completion(reply.text, time.perf_counter() - started)
    spent = None
    try:
        spent = _Reply.read(await send(request(model, prompt, first_token=True)), may_be_empty=True)
    except RefusedError:  # some servers refuse to list probabilities
        found = None
    else:
        found = _compared(spent.listed, prompt.choices)
    if spent is not None and found is not None:
        probability, mass = found
        return spent.completion(
            prompt.choices[0 if probability >= 1 / 2 else 1],
            time.perf_counter() - started,
            probability=probability,
            choice_mass=mass,
            decided_by="log-probabilities",
        )
    reply = _Reply.read(await send(request(model, prompt)))
    chosen = _chosen(reply.text, prompt.choices)
    return reply.completion(
        chosen,
        time.perf_counter() - started,
        before=spent,
        probability=1.0 if chosen == prompt.choices[0] else 0.0,
        decided_by="structured choice",
    )


def request(model: str, prompt: Prompt, *, first_token: bool = False) -> dict[str, Any]:
    """Write the body of a request.

    Args:
        model: the name that the server has for the model.
        prompt: what is asked.
        first_token: whether only the probabilities of the first token are wanted.

    Returns:
        JSON values.
    """
    body: dict[str, Any] = {"model": model, "messages": _messages(prompt), "temperature": 0, "seed": SEED}
    if first_token:
        return body | {"max_tokens": 1, "logprobs": True, "top_logprobs": LISTED_TOKENS}
    if prompt.choices is not None:
        return body | {
            "max_tokens": CHOICE_TOKENS,
            "response_format": _format("choice", _choice_schema(prompt.choices)),
        }
    body["max_tokens"] = prompt.max_tokens
    if prompt.json_schema is not None:
        body["response_format"] = _format("report", json.loads(prompt.json_schema))
    return body


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    text = {"type": "text", "text": prompt.text}
    content: Any = prompt.text
    if prompt.image is not None:
        picture = {"type": "image_url", "image_url": {"url": image_url(prompt.image)}}
        content = [picture, text] if prompt.image_first else [text, picture]
    system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    return [*system, {"role": "user", "content": content}]


def image_url(image: NDArray[np.uint8]) -> str:
    """Write an image as a PNG in a data URL, in its own size: each server enlarges it as its model wants it.

    Args:
        image: grey image, shape (height, width), 0–255; it is sent in colour, which some servers expect.
    """
    file = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def _choice_schema(choices: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(choices)}},
        "required": ["answer"],
        "additionalProperties": False,
    }


def _chosen(text: str, choices: tuple[str, str]) -> str:
    """Read which choice was written; the object may be cut off behind it, by a model that fills it with blanks."""
    value = _ANSWER.search(text)
    answer = _word(text if value is None else value[1])
    for choice in choices:
        if answer == choice.casefold():
            return choice
    raise NoCompletionError(f"neither {' nor '.join(choices)} was answered but {printable(text)!r}")


def _compared(listed: "list[_Token]", choices: tuple[str, str]) -> tuple[float, float] | None:
    """Return the probability of the first choice against the second and that of both; None where neither is listed.

    A word has several tokens: with a space or a mark for one before it, in small letters, in a quotation.
    """
    tokens = {(token.token, token.logprob) for token in listed if token.logprob is not None}
    first, second = (
        math.fsum(math.exp(logprob) for token, logprob in tokens if _word(token) == choice.casefold())
        for choice in choices
    )
    mass = first + second
    return (first / mass, min(mass, 1.0)) if mass > 0 else None


def _word(text: str) -> str:
    return text.strip(" \t\r\n▁Ġ\"'`*.,:").casefold()


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Token(_Lenient):
    token: str
    logprob: float | None = Field(None, le=_ROUNDED)  # which NaN is not
    top_logprobs: "list[_Token] | None" = None


class _LogProbabilities(_Lenient):
    content: list[_Token] | None = None


class _Message(_Lenient):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Lenient):
    message: _Message
    finish_reason: str | None = None
    logprobs: _LogProbabilities | None = None


class _TokenDetails(_Lenient):
    reasoning_tokens: int | None = None


class _Usage(_Lenient):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: _TokenDetails | None = None


_ENDS: Mapping[str | None, Literal["stop", "length"]] = {"stop": "stop", "length": "length", None: "stop"}


class _Reply(_Lenient):
    """The part of a chat completion that is used."""

    choices: list[_Choice]
    usage: _Usage | None = None

    @classmethod
    def read(cls, body: Any, *, may_be_empty: bool = False) -> "_Reply":
        try:
            reply = cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise RefusedError(f"no chat completion was answered: {where}: {first['msg']}") from None
        if not reply.choices:
            raise RefusedError("no chat completion was answered: choices is empty")
        message, end = reply.choices[0].message, reply.choices[0].finish_reason
        if message.refusal:
            raise NoCompletionError(f"the model declined: {printable(message.refusal, _ERROR_CHARACTERS)}")
        if end not in _ENDS:
            raise NoCompletionError(f"the answer ended for another reason than its end or limit: {printable(end)}")
        if not may_be_empty and not reply.text:
            raise NoCompletionError("empty answer")
        return reply

    @property
    def text(self) -> str:
        return (self.choices[0].message.content or "").strip()

    @property
    def listed(self) -> list[_Token]:
        """The likeliest first tokens, and the one that was taken."""
        given = self.choices[0].logprobs
        if given is None or not given.content:
            return []
        first = given.content[0]
        return [first, *(first.top_logprobs or [])]

    def completion(self, text: str, seconds: float, *, before: "_Reply | None" = None, **decided: Any) -> Completion:
        replies = [reply.usage for reply in (before, self) if reply is not None and reply.usage is not None]
        details = [usage.completion_tokens_details for usage in replies]
        return Completion(
            text=text,
            prompt_tokens=sum(usage.prompt_tokens or 0 for usage in replies),
            generated_tokens=sum(usage.completion_tokens or 0 for usage in replies),
            thought_tokens=sum(each.reasoning_tokens or 0 for each in details if each is not None),
            finish_reason="stop" if decided else _ENDS[self.choices[0].finish_reason],
            seconds=seconds,
            **decided,
        )
