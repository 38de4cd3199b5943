"""Batched greedy generation: many prompts about many images, each image encoded once."""

import hashlib
import math
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import InputError
from models.report_generation.medgemma.batching import Batch, buckets, in_one_line, run_batches
from models.report_generation.medgemma.checkpoint import LoadedModel
from models.report_generation.medgemma.constrained import JsonConstraint, Vocabulary
from models.report_generation.medgemma.faults import free_memory, is_fatal, is_out_of_memory
from models.report_generation.medgemma.gemma3 import features_in_place, prompt_tokens
from models.report_generation.medgemma.image_encoder import ImageEncoder
from models.report_generation.medgemma.memory import MOST_IMAGES, MOST_ROWS, images_that_fit, rows_that_fit
from models.report_generation.medgemma.thinking import SHORTEST_THOUGHT, ThoughtBudget, thought_marks, without_thought

CPU_BATCH_SIZE = 64
"""Prompts that are tried at once on a CPU, where larger batches are no faster."""

CACHE_STEP = 256
"""Tokens by which static caches differ in length."""

NOTHING_DONE: Mapping[str, int] = {}


Item = TypeVar("Item")


@dataclass(frozen=True)
class Prompt:
    """One text that is asked for.

    Attributes:
        key: the caller's name for it.
        text: the user's message.
        system: the system message, or None.
        image: position of its image in the array that travels beside the prompts, or None for no image.
        image_first: whether the image stands before the text of the message.
        max_new_tokens: limit on the answer, in tokens.
        thinking_tokens: budget of a block of thought before the answer, its marks included; 0 bars it. The likelier
            of two choices is told without a thought.
        json_schema: JSON schema that the answer is held to, or None for free text.
        choices: two answers of which the likelier one is wanted, by their first tokens, instead of a written text; or
            None.
        company: prompts share batches with those of the same company; empty for most. Those of any other company than
            that meet in an order that has nothing to do with their lengths, in two batches at least.
    """

    key: str
    text: str
    system: str | None = None
    image: int | None = None
    image_first: bool = True
    max_new_tokens: int = 256
    thinking_tokens: int = 0
    json_schema: str | None = None
    choices: tuple[str, str] | None = None
    company: str = ""


@dataclass(frozen=True)
class Completion:
    """A text that was written.

    Attributes:
        key: the prompt's.
        text: what was written, without the thought, special tokens and outer white space.
        token_ids: what was written, the stop token included.
        prompt_tokens: tokens of the prompt, image tokens included, padding not.
        generated_tokens: number of `token_ids`.
        finish_reason: "stop" where the model ended the text, "length" where the limit did.
        seconds: its share of the seconds of its batch, in which the images that no earlier batch had are encoded.
        batch_size: prompts in its batch.
        peak_gib: peak GPU memory of its batch in GiB, weights included, or None on a CPU.
        thought_tokens: how many of the tokens were a thought before the answer.
        probability: of the first of the two choices against the second, or None for a text.
        choice_mass: what the first tokens of the two choices hold of the probability of the first token, if no thought
            is opened; other spellings, as in lower case or after a space, are not counted. None for a text.
    """

    key: str
    text: str
    token_ids: tuple[int, ...]
    prompt_tokens: int
    generated_tokens: int
    finish_reason: Literal["stop", "length"]
    seconds: float
    batch_size: int
    peak_gib: float | None
    thought_tokens: int = 0
    probability: float | None = None
    choice_mass: float | None = None


@dataclass(frozen=True)
class Failure:
    """A prompt without an answer.

    Attributes:
        key: the prompt's.
        error: why, in one line.
    """

    key: str
    error: str


@dataclass(frozen=True)
class Finished:
    """What came of one batch.

    Attributes:
        completions: the texts.
        failures: the prompts without one.
        batch_limit: prompts in the largest batch that was tried at the time; 0 where none was.
        width: tokens of its longest prompt.
        steps: passes through the network after the one over the prompts, so tokens of the longest text less one.
    """

    completions: tuple[Completion, ...]
    failures: tuple[Failure, ...]
    batch_limit: int = 0
    width: int = 0
    steps: int = 0


@dataclass(frozen=True)
class _Row:
    prompt: Prompt
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class _Answer:
    tokens: tuple[int, ...]
    text: str
    finish_reason: Literal["stop", "length"]
    thought_tokens: int = 0
    probability: float | None = None
    choice_mass: float | None = None
    error: str | None = None


_turns: weakref.WeakKeyDictionary[Any, threading.Lock] = weakref.WeakKeyDictionary()
"""By model: the engines of one take turns."""


class Engine:
    """Answers prompts with a loaded model, greedily, in batches as large as the memory allows.

    In fp32 a text does not depend on the batch that it was written in. In bf16 and NF4 it may: rounding differs with
    the company, and tips a token now and then. A run that goes on where another was ended makes the batches that the
    other would have made. Engines of the same model in several threads take turns.
    """

    def __init__(self, loaded: LoadedModel, batch_size: int | None = None, *, compiled: bool = False) -> None:
        """Prepare to use a model.

        Args:
            loaded: the model and what belongs to it.
            batch_size: prompts in the largest batch, or None for what fits by arithmetic. It is halved where the memory
                does not suffice.
            compiled: whether the cache is made for the whole length at once, with which transformers compiles the
                decoding step on a GPU.
        """
        self._turn = _turns.setdefault(loaded.model, threading.Lock())
        self._batch_size = batch_size
        self._compiled = compiled
        self._model = loaded.model
        self._processor = loaded.processor
        self._tokenizer = loaded.processor.tokenizer
        self._device = torch.device(loaded.device)
        self._stop_tokens = loaded.stop_tokens
        self._marks = thought_marks(self._tokenizer)
        tokenizer, width = self._tokenizer, loaded.model.config.text_config.vocab_size
        self._vocabulary = Vocabulary(loaded.source, width, loaded.stop_tokens, lambda: tokenizer)

    def run(
        self, prompts: Sequence[Prompt], images: NDArray[np.uint8], done: Mapping[str, int] = NOTHING_DONE
    ) -> Iterator[Finished]:
        """Answer prompts.

        Args:
            prompts: what to answer, in any order; prompts that share settings share batches.
            images: shape (images, height, width), 0–255; grey.
            done: those of the prompts that were answered by an earlier run, by key, each with its batch limit or 0.

        Yields:
            Each batch as soon as it is done and before the next one is begun; every prompt that was not done exactly
            once.

        Raises:
            ValueError: two choices begin with the same token, or one with none.
            RuntimeError: a JSON schema is none, or the GPU is in a state in which nothing else can be computed.
        """
        for choices in {prompt.choices for prompt in prompts if prompt.choices}:
            self._choice_tokens(choices)
        for schema in {prompt.json_schema for prompt in prompts if prompt.json_schema}:
            self._constraint(schema)
        rows, unfit = self._tokenised(prompts, len(images))
        if unfit := [failure for failure in unfit if failure.key not in done]:
            yield Finished((), tuple(unfit))
        missing = _shown([row for row in rows if row.prompt.key not in done])
        encoder = ImageEncoder(self._model, self._processor, self._images_at_once(), images, missing, _shown(rows))
        for bucket in buckets(rows, kind=lambda row: kind_of(row.prompt), length=lambda row: len(row.tokens)):
            largest = self._rows_at_once(bucket)
            if bucket[0].prompt.company:
                bucket, largest = mixed(bucket, largest, key=lambda row: row.prompt.key)
            for batch in run_batches(
                bucket,
                lambda rows: self._complete(rows, encoder),
                largest,
                is_out_of_memory=is_out_of_memory,
                is_fatal=is_fatal,
                free_memory=free_memory,
                done=lambda row: done.get(row.prompt.key),
            ):
                finished = _finished(batch)
                encoder.release(_shown([row for row, _ in (*batch.done, *batch.failed)]))
                yield finished

    def _rows_at_once(self, rows: Sequence[_Row]) -> int:
        if self._batch_size is not None:
            return self._batch_size
        if self._device.type != "cuda":
            return CPU_BATCH_SIZE
        width, new_tokens = max(len(row.tokens) for row in rows), _new_tokens(rows[0].prompt)
        return rows_that_fit(
            self._model.config,
            width=width,
            new_tokens=_cache_length(width + new_tokens) - width if self._compiled else new_tokens,
            free_bytes=_free_bytes(self._device),
            bytes_per_number=self._model.dtype.itemsize,
            static=self._compiled,
        )

    def _images_at_once(self) -> int:
        if self._batch_size is not None:
            return min(self._batch_size, MOST_IMAGES)
        if self._device.type != "cuda":
            return MOST_IMAGES
        free, size = _free_bytes(self._device), self._model.dtype.itemsize
        return images_that_fit(self._model.config, free_bytes=free, bytes_per_number=size)

    def _tokenised(self, prompts: Sequence[Prompt], images: int) -> tuple[list[_Row], list[Failure]]:
        rows, unfit = [], []
        for prompt in prompts:
            try:
                rows.append(_Row(prompt, self._tokens(prompt, images)))
            except ValueError as error:
                unfit.append(Failure(prompt.key, in_one_line(error)))
        return rows, unfit

    def _tokens(self, prompt: Prompt, images: int) -> tuple[int, ...]:
        if prompt.image is not None and not 0 <= prompt.image < images:
            raise ValueError(f"there is no image {prompt.image} among {images}")
        content = [{"type": "text", "text": prompt.text}]
        if prompt.image is not None:
            content.insert(0 if prompt.image_first else 1, {"type": "image"})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if prompt.system is not None:
            messages.insert(0, {"role": "system", "content": [{"type": "text", "text": prompt.system}]})
        tokens = prompt_tokens(self._processor, messages)
        wanted = 0 if prompt.image is None else self._processor.image_seq_length
        if tokens.count(self._tokenizer.image_token_id) != wanted:
            raise ValueError("the text of the prompt holds an image token")
        limit = self._model.config.text_config.max_position_embeddings
        most = self._thinking(prompt) + prompt.max_new_tokens
        if len(tokens) + most > limit:
            raise ValueError(
                f"{len(tokens)} tokens of the prompt and {most} of the answer are more than the model's {limit}"
            )
        return tokens

    def _complete(self, rows: Sequence[_Row], encoder: ImageEncoder) -> list[Completion | Failure]:
        with self._turn, torch.inference_mode():
            answers, seconds, peak_gib = self._measured(rows, encoder)
        return [
            _result(row, answer, seconds / len(rows), len(rows), peak_gib)
            for row, answer in zip(rows, answers, strict=True)
        ]

    def _measured(self, rows: Sequence[_Row], encoder: ImageEncoder) -> tuple[list[_Answer], float, float | None]:
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
        start = time.perf_counter()
        prompt = rows[0].prompt  # whose settings are those of all
        asked = self._filled_up(rows) if prompt.choices is None else rows
        inputs = self._inputs(asked)
        shown = _shown(asked)
        with features_in_place(self._model, self._tokenizer.image_token_id, encoder.features(shown) if shown else None):
            answers = self._generate(inputs, prompt) if prompt.choices is None else self._choose(inputs, prompt.choices)
        answers = answers[: len(rows)]
        if on_gpu:
            torch.cuda.synchronize(self._device)
        seconds = time.perf_counter() - start
        return answers, seconds, torch.cuda.max_memory_allocated(self._device) / 2**30 if on_gpu else None

    def _filled_up(self, rows: Sequence[_Row]) -> Sequence[_Row]:
        """Repeat the last row up to a power of two where decoding is compiled, which it is for each number of rows."""
        if not self._compiled:
            return rows
        count = min(1 << (len(rows) - 1).bit_length(), self._batch_size or MOST_ROWS)
        return [*rows, *[rows[-1]] * (count - len(rows))]

    def _inputs(self, rows: Sequence[_Row]) -> dict[str, torch.Tensor]:
        width = max(len(row.tokens) for row in rows)
        padding = self._tokenizer.pad_token_id
        ids = torch.tensor([[padding] * (width - len(row.tokens)) + list(row.tokens) for row in rows])
        mask = torch.tensor([[0] * (width - len(row.tokens)) + [1] * len(row.tokens) for row in rows])
        in_image = (ids == self._tokenizer.image_token_id).long()  # image tokens attend to each other both ways
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": in_image}
        return {name: tensor.to(self._device) for name, tensor in inputs.items()}

    def _generate(self, inputs: dict[str, torch.Tensor], prompt: Prompt) -> list[_Answer]:
        width = inputs["input_ids"].shape[1]
        most = self._thinking(prompt) + prompt.max_new_tokens
        cache = {}
        if self._compiled:
            cache = {"cache_implementation": "static", "max_cache_len": _cache_length(width + most)}
        written = self._model.generate(
            **inputs,
            do_sample=False,  # the checkpoint itself asks for sampling
            max_new_tokens=most,
            eos_token_id=list(self._stop_tokens) or None,
            pad_token_id=self._tokenizer.pad_token_id,
            logits_processor=self._rules(prompt, width),
            **cache,
        )
        return [self._answer(line, prompt) for line in written[:, width:].tolist()]

    def _rules(self, prompt: Prompt, width: int) -> list[Any]:
        """Return what bars tokens while prompts of that kind, padded to a width, are answered."""
        schema, budget = prompt.json_schema, self._thinking(prompt)
        if self._marks is None:
            return [] if schema is None else [self._constraint(schema)]
        thought = ThoughtBudget(self._marks, budget, self._stop_tokens, width)
        if schema is None:
            return [thought]
        return [self._constraint(schema, thinks=budget >= SHORTEST_THOUGHT), thought]

    def _thinking(self, prompt: Prompt) -> int:
        return 0 if self._marks is None or prompt.choices else prompt.thinking_tokens

    def _answer(self, line: list[int], prompt: Prompt) -> _Answer:
        end = next((i + 1 for i, token in enumerate(line) if token in self._stop_tokens), len(line))
        answer, thought = without_thought(line[:end], self._marks)
        answer = answer[: prompt.max_new_tokens]  # of one without a thought, which had the thought's room as well
        text = self._tokenizer.decode(answer, skip_special_tokens=True).strip()
        return _Answer(
            tuple(line[: thought + len(answer)]),
            text,
            "stop" if answer and answer[-1] in self._stop_tokens else "length",
            thought_tokens=thought,
            error=None if text else "empty answer",
        )

    def _choose(self, inputs: dict[str, torch.Tensor], choices: tuple[str, str]) -> list[_Answer]:
        tokens = self._choice_tokens(choices)
        positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        logits = self._model(**inputs, position_ids=positions, logits_to_keep=1, use_cache=False).logits[:, -1].float()
        if self._marks is not None:
            logits[:, self._marks.opening] = float("-inf")
        pairs = logits[:, list(tokens)]
        masses = (pairs.logsumexp(1) - logits.logsumexp(1)).exp().clamp(max=1)
        return [
            _chosen(tokens, choices, pair, mass) for pair, mass in zip(pairs.cpu(), masses.cpu().tolist(), strict=True)
        ]

    def _choice_tokens(self, choices: tuple[str, str]) -> tuple[int, int]:
        first, second = (self._tokenizer(choice, add_special_tokens=False)["input_ids"][:1] for choice in choices)
        if not first or not second or first == second:
            raise ValueError(f"the choices {choices[0]!r} and {choices[1]!r} do not differ in their first token")
        return first[0], second[0]

    def _constraint(self, json_schema: str, *, thinks: bool = False) -> JsonConstraint:
        marks = (self._marks.opening, self._marks.closing) if thinks and self._marks else None
        return JsonConstraint(self._vocabulary, json_schema, marks)


def _shown(rows: Sequence[_Row]) -> list[int]:
    return [row.prompt.image for row in rows if row.prompt.image is not None]


def require_compilable(precision: str) -> None:
    """Refuse to compile what transformers leaves as it is.

    Raises:
        InputError: the weights are in 4 bits.
    """
    if precision == "nf4":
        raise InputError(
            "Decoding cannot be compiled in the precision nf4, since transformers compiles no network that "
            "bitsandbytes has quantized; take --reports.precision bf16, or leave out --reports.compiled."
        )


def _new_tokens(prompt: Prompt) -> int:
    """Tell the most that can be written after a prompt, in tokens."""
    return prompt.max_new_tokens + (0 if prompt.choices else prompt.thinking_tokens)


def _cache_length(tokens: int) -> int:
    """Round a length up: decoding is compiled for each length of the cache, of which there should be few."""
    return -(-tokens // CACHE_STEP) * CACHE_STEP


def kind_of(prompt: Prompt) -> Hashable:
    """Tell what prompts have in common that may share a batch."""
    return prompt.max_new_tokens, prompt.thinking_tokens, prompt.json_schema, prompt.choices, prompt.company


def mixed(items: Sequence[Item], largest: int, key: Callable[[Item], str]) -> tuple[list[Item], int]:
    """Put items into an order by the digests of their keys, and cut them into two batches at least.

    No item then has the company that it has where all of them are sorted by length, not even among no others.

    Args:
        items: what shares batches.
        largest: items in the largest batch that is tried.
        key: name of an item.

    Returns:
        The items and the largest batch.
    """
    ordered = sorted(items, key=lambda item: hashlib.sha256(key(item).encode()).digest())
    return ordered, min(largest, (len(items) + 1) // 2)


def _free_bytes(device: torch.device) -> int:
    """Tell what of a GPU's memory is free, with what PyTorch holds in reserve."""
    reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + reserve)


def _chosen(tokens: tuple[int, int], choices: tuple[str, str], logits: torch.Tensor, mass: float) -> _Answer:
    if not torch.isfinite(logits).all() or not math.isfinite(mass):
        return _Answer((), "", "stop", error="the logits of the choices are not finite")
    probability = logits.softmax(0)[0].item()
    likelier = 0 if probability >= 1 / 2 else 1
    return _Answer((tokens[likelier],), choices[likelier], "stop", probability=probability, choice_mass=mass)


def _result(
    row: _Row, answer: _Answer, seconds: float, batch_size: int, peak_gib: float | None
) -> Completion | Failure:
    if answer.error is not None:
        return Failure(row.prompt.key, answer.error)
    return Completion(
        key=row.prompt.key,
        text=answer.text,
        token_ids=answer.tokens,
        prompt_tokens=len(row.tokens),
        generated_tokens=len(answer.tokens),
        finish_reason=answer.finish_reason,
        seconds=seconds,
        batch_size=batch_size,
        peak_gib=peak_gib,
        thought_tokens=answer.thought_tokens,
        probability=answer.probability,
        choice_mass=answer.choice_mass,
    )


def _finished(batch: Batch[_Row, Completion | Failure]) -> Finished:
    results = [result for _, result in batch.done]
    lengths = [result.generated_tokens for result in results if isinstance(result, Completion)]
    return Finished(
        tuple(result for result in results if isinstance(result, Completion)),
        (
            *(result for result in results if isinstance(result, Failure)),
            *(Failure(row.prompt.key, error) for row, error in batch.failed),
        ),
        batch_limit=batch.limit,
        width=max((len(row.tokens) for row, _ in batch.done), default=0),
        steps=max(lengths, default=1) - 1,
    )
