"""Batched greedy generation: many prompts about many images, each image encoded once."""

import threading
import time
import weakref
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.report_generation.medgemma.batching import Batch, BatchCeiling, buckets, in_one_line, run_batches
from models.report_generation.medgemma.checkpoint import LoadedModel
from models.report_generation.medgemma.constrained import JsonConstraint, Vocabulary
from models.report_generation.medgemma.faults import free_memory, is_fatal, is_out_of_memory
from models.report_generation.medgemma.gemma3 import features_in_place, prompt_tokens
from models.report_generation.medgemma.image_encoder import ImageEncoder

FIRST_BATCH_SIZE = 64
"""Prompts, or images, that are tried at once where nothing else is asked for."""


@dataclass(frozen=True)
class Prompt:
    """One text that is asked for.

    Attributes:
        key: the caller's name for it.
        text: the user's message.
        system: the system message, or None.
        image: position of its image in the array that travels beside the prompts, or None for no image.
        image_first: whether the image stands before the text of the message.
        max_new_tokens: limit on what is written, in tokens.
        json_schema: JSON schema that the answer is held to, or None for free text.
        choices: two answers of which the likelier one is wanted, by their first tokens, instead of a written text; or
            None.
        alone: whether it is to run in a batch of its own.
    """

    key: str
    text: str
    system: str | None = None
    image: int | None = None
    image_first: bool = True
    max_new_tokens: int = 256
    json_schema: str | None = None
    choices: tuple[str, str] | None = None
    alone: bool = False


@dataclass(frozen=True)
class Completion:
    """A text that was written.

    Attributes:
        key: the prompt's.
        text: what was written, without special tokens and outer white space.
        token_ids: what was written, the stop token included.
        prompt_tokens: tokens of the prompt, image tokens included, padding not.
        generated_tokens: number of `token_ids`.
        finish_reason: "stop" where the model ended the text, "length" where the limit did.
        seconds: its share of the seconds of its batch, in which the images that no earlier batch had are encoded.
        batch_size: prompts in its batch.
        peak_gib: peak GPU memory of its batch in GiB, weights included, or None on a CPU.
        probability: of the first of the two choices against the second, or None for a text.
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
    probability: float | None = None


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
    """

    completions: tuple[Completion, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class _Row:
    prompt: Prompt
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class _Answer:
    tokens: tuple[int, ...]
    text: str
    finish_reason: Literal["stop", "length"]
    probability: float | None = None
    error: str | None = None


class _Use:
    """What the engines of one model share: its turn, and what fits of prompts and of images by the size tried first."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._ceilings: dict[int, tuple[BatchCeiling, BatchCeiling]] = {}

    def ceilings(self, first: int) -> tuple[BatchCeiling, BatchCeiling]:
        return self._ceilings.setdefault(first, (BatchCeiling(first), BatchCeiling(first)))


_uses: weakref.WeakKeyDictionary[Any, _Use] = weakref.WeakKeyDictionary()


class Engine:
    """Answers prompts with a loaded model, greedily, in batches as large as the memory allows.

    Texts do not depend on the batch that they were written in, but for rounding, which may tip a token in number
    formats below fp32. Engines of the same model in several threads take turns.
    """

    def __init__(self, loaded: LoadedModel, batch_size: int | None = None) -> None:
        """Prepare to use a model.

        Args:
            loaded: the model and what belongs to it.
            batch_size: prompts in the largest batch, or None to begin with 64. It is halved where the memory does not
                suffice, and what fits is remembered for the next engine of the same model and batch size.
        """
        first = FIRST_BATCH_SIZE if batch_size is None else batch_size
        self._use = _uses.setdefault(loaded.model, _Use())
        self._ceiling, self._image_ceiling = self._use.ceilings(first)
        self._model = loaded.model
        self._processor = loaded.processor
        self._tokenizer = loaded.processor.tokenizer
        self._device = torch.device(loaded.device)
        self._stop_tokens = loaded.stop_tokens
        tokenizer, width = self._tokenizer, loaded.model.config.text_config.vocab_size
        self._vocabulary = Vocabulary(loaded.source, width, loaded.stop_tokens, lambda: tokenizer)

    def run(self, prompts: Sequence[Prompt], images: NDArray[np.uint8]) -> Iterator[Finished]:
        """Answer prompts.

        Args:
            prompts: what to answer, in any order; prompts that share settings share batches.
            images: shape (images, height, width), 0–255; grey.

        Yields:
            Each batch as soon as it is done and before the next one is begun; every prompt exactly once.

        Raises:
            ValueError: two choices begin with the same token, or one with none.
            RuntimeError: a JSON schema is none, or the GPU is in a state in which nothing else can be computed.
        """
        for choices in {prompt.choices for prompt in prompts if prompt.choices}:
            self._choice_tokens(choices)
        for schema in {prompt.json_schema for prompt in prompts if prompt.json_schema}:
            self._constraint(schema)
        rows, unfit = self._tokenised(prompts, len(images))
        if unfit:
            yield Finished((), tuple(unfit))
        encoder = ImageEncoder(self._model, self._processor, self._image_ceiling, images, _shown(rows))
        for bucket in buckets(rows, kind=_kind, length=lambda row: len(row.tokens)):
            for batch in run_batches(
                bucket,
                lambda rows: self._complete(rows, encoder),
                self._ceiling,
                is_out_of_memory=is_out_of_memory,
                is_fatal=is_fatal,
                free_memory=free_memory,
            ):
                finished = _finished(batch)
                encoder.release(_shown([row for row, _ in (*batch.done, *batch.failed)]))
                yield finished

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
        if len(tokens) + prompt.max_new_tokens > limit:
            raise ValueError(
                f"{len(tokens)} tokens of the prompt and {prompt.max_new_tokens} of the answer are more than the "
                f"model's {limit}"
            )
        return tokens

    def _complete(self, rows: Sequence[_Row], encoder: ImageEncoder) -> list[Completion | Failure]:
        with self._use.turn, torch.inference_mode():
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
        inputs = self._inputs(rows)
        shown = _shown(rows)
        with features_in_place(self._model, self._tokenizer.image_token_id, encoder.features(shown) if shown else None):
            answers = self._generate(inputs, prompt) if prompt.choices is None else self._choose(inputs, prompt.choices)
        if on_gpu:
            torch.cuda.synchronize(self._device)
        seconds = time.perf_counter() - start
        return answers, seconds, torch.cuda.max_memory_allocated(self._device) / 2**30 if on_gpu else None

    def _inputs(self, rows: Sequence[_Row]) -> dict[str, torch.Tensor]:
        width = max(len(row.tokens) for row in rows)
        padding = self._tokenizer.pad_token_id
        ids = torch.tensor([[padding] * (width - len(row.tokens)) + list(row.tokens) for row in rows])
        mask = torch.tensor([[0] * (width - len(row.tokens)) + [1] * len(row.tokens) for row in rows])
        in_image = (ids == self._tokenizer.image_token_id).long()  # image tokens attend to each other both ways
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": in_image}
        return {name: tensor.to(self._device) for name, tensor in inputs.items()}

    def _generate(self, inputs: dict[str, torch.Tensor], prompt: Prompt) -> list[_Answer]:
        constraints = [] if prompt.json_schema is None else [self._constraint(prompt.json_schema)]
        written = self._model.generate(
            **inputs,
            do_sample=False,  # the checkpoint itself asks for sampling
            max_new_tokens=prompt.max_new_tokens,
            eos_token_id=list(self._stop_tokens) or None,
            pad_token_id=self._tokenizer.pad_token_id,
            logits_processor=constraints,
        )
        answers = []
        for line in written[:, inputs["input_ids"].shape[1] :].tolist():
            end = next((i + 1 for i, token in enumerate(line) if token in self._stop_tokens), len(line))
            text = self._tokenizer.decode(line[:end], skip_special_tokens=True).strip()
            reason: Literal["stop", "length"] = "stop" if line[end - 1] in self._stop_tokens else "length"
            answers.append(_Answer(tuple(line[:end]), text, reason, error=None if text else "empty answer"))
        return answers

    def _choose(self, inputs: dict[str, torch.Tensor], choices: tuple[str, str]) -> list[_Answer]:
        tokens = self._choice_tokens(choices)
        positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        logits = self._model(**inputs, position_ids=positions, logits_to_keep=1, use_cache=False).logits
        answers = []
        for pair in logits[:, -1, list(tokens)].float().cpu():
            if not torch.isfinite(pair).all():
                answers.append(_Answer((), "", "stop", error="the logits of the choices are not finite"))
                continue
            probability = pair.softmax(0)[0].item()
            likelier = 0 if probability >= 1 / 2 else 1
            answers.append(_Answer((tokens[likelier],), choices[likelier], "stop", probability))
        return answers

    def _choice_tokens(self, choices: tuple[str, str]) -> tuple[int, int]:
        first, second = (self._tokenizer(choice, add_special_tokens=False)["input_ids"][:1] for choice in choices)
        if not first or not second or first == second:
            raise ValueError(f"the choices {choices[0]!r} and {choices[1]!r} do not differ in their first token")
        return first[0], second[0]

    def _constraint(self, json_schema: str) -> JsonConstraint:
        return JsonConstraint(self._vocabulary, json_schema)


def _shown(rows: Sequence[_Row]) -> list[int]:
    return [row.prompt.image for row in rows if row.prompt.image is not None]


def _kind(row: _Row) -> Hashable:
    prompt = row.prompt
    return prompt.max_new_tokens, prompt.json_schema, prompt.choices, prompt.key if prompt.alone else None


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
        probability=answer.probability,
    )


def _finished(batch: Batch[_Row, Completion | Failure]) -> Finished:
    results = [result for _, result in batch.done]
    return Finished(
        tuple(result for result in results if isinstance(result, Completion)),
        (
            *(result for result in results if isinstance(result, Failure)),
            *(Failure(row.prompt.key, error) for row, error in batch.failed),
        ),
    )
