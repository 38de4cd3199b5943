"""A network that is made to think, by what is added to its logits, beside a loop that takes a token at a time."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from models.report_generation.medgemma.checkpoint import LoadedModel, load_model, resolve_source
from models.report_generation.medgemma.engine import Completion, Engine, Failure, Prompt
from models.report_generation.medgemma.thinking import ThoughtMarks, thought_marks, without_thought

IMAGES = np.zeros((1, 28, 28), np.uint8)
MARKS = ThoughtMarks(94, 95)  # in this tokenizer; 100 and 101 in Gemma's
STOP = 106
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["normal", "pneumonia"]}, "certain": {"type": "boolean"}},
    "required": ["label", "certain"],
    "additionalProperties": False,
}
TEXTS = ("label", "What does the chest radiograph of a child show?", "Findings, impression and label please. " * 4)


@pytest.fixture(scope="module")
def loaded(small_checkpoint: Path) -> LoadedModel:
    return load_model(resolve_source(str(small_checkpoint), None, None), "fp32", "cpu", None)


@contextmanager
def eager_for(loaded: LoadedModel, *wishes: tuple[int, slice, float]) -> Iterator[None]:
    """Add to the logits of a token, in some rows of the batch: what the network would write if nothing barred it."""

    def add(module: torch.nn.Module, arguments: Any, logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        for token, rows, much in wishes:
            logits[rows, :, token] += much
        return logits

    hook = loaded.model.lm_head.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


def answers(loaded: LoadedModel, prompts: list[Prompt]) -> dict[str, Completion]:
    (finished,) = Engine(loaded).run(prompts, IMAGES)
    assert not finished.failures
    return {completion.key: completion for completion in finished.completions}


def written_by_hand(loaded: LoadedModel, prompt: Prompt, barred: Callable[[list[int]], set[int] | None]) -> list[int]:
    """Take the likeliest token that is not barred, or the closing mark where all else is, until a stop or a limit."""
    content = [{"type": "text", "text": prompt.text}]
    prefix = loaded.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt",
        add_generation_prompt=True,
    )["input_ids"][0].tolist()  # fmt: skip
    tokens: list[int] = []
    while len(tokens) < prompt.thinking_tokens + prompt.max_new_tokens and not set(tokens) & {1, STOP}:
        not_these = barred(tokens)
        if not_these is None:
            tokens.append(MARKS.closing)
            continue
        with torch.no_grad():
            logits = loaded.model(input_ids=torch.tensor([prefix + tokens]), use_cache=False).logits[0, -1].clone()
        logits[list(not_these)] = -torch.inf
        tokens.append(int(logits.argmax()))
    return tokens


def rule(budget: int) -> Callable[[list[int]], set[int] | None]:
    def barred(tokens: list[int]) -> set[int] | None:
        if not tokens:
            return {MARKS.closing} if budget else {MARKS.opening, MARKS.closing}
        if tokens[0] == MARKS.opening and MARKS.closing not in tokens:
            return None if len(tokens) == budget - 1 else {MARKS.opening, 1, STOP}
        return {MARKS.opening, MARKS.closing}

    return barred


def test_the_marks_are_found_by_name(loaded: LoadedModel):
    assert thought_marks(loaded.processor.tokenizer) == MARKS


@pytest.mark.parametrize(
    ("tokens", "answer", "length"),
    [
        ([94, 7, 95, 8, 9], [8, 9], 3),
        ([94, 95], [], 2),
        ([94, 7, 8], [], 3),  # it never ends
        ([8, 9], [8, 9], 0),
        ([8, 94, 7, 95], [8, 94, 7, 95], 0),  # what does not stand first is no thought
        ([], [], 0),
    ],
)
def test_a_thought_is_cut_off_and_counted(tokens: list[int], answer: list[int], length: int):
    assert without_thought(tokens, MARKS) == (answer, length)
    assert without_thought(tokens, None) == (tokens, 0)


@pytest.mark.parametrize("budget", [0, 2, 3, 9])
def test_a_network_that_wants_to_think_does_so_within_its_budget(loaded: LoadedModel, budget: int):
    prompts = [Prompt(text, text, max_new_tokens=6, thinking_tokens=budget) for text in TEXTS]
    with eager_for(loaded, (MARKS.opening, slice(None), 100)):
        found = answers(loaded, prompts)
        for prompt in prompts:
            expected, answer = written_by_hand(loaded, prompt, rule(budget)), found[prompt.key]
            assert list(answer.token_ids) == expected
            assert (answer.thought_tokens, answer.generated_tokens) == (budget, len(expected))
            assert (MARKS.opening in expected) == (budget > 0)
            assert answer.text == loaded.processor.decode(expected[budget:], skip_special_tokens=True).strip()


def test_a_thought_that_ends_by_itself_leaves_its_budget_and_not_the_answers_limit(loaded: LoadedModel):
    prompts = [Prompt(text, text, max_new_tokens=6, thinking_tokens=40) for text in TEXTS]
    with eager_for(loaded, (MARKS.opening, slice(None), 100), (MARKS.closing, slice(None), 90)):
        for answer in answers(loaded, prompts).values():
            assert answer.token_ids[:2] == (MARKS.opening, MARKS.closing)
            assert answer.thought_tokens == 2
            assert answer.generated_tokens <= 2 + 6
            assert answer.finish_reason == ("stop" if answer.token_ids[-1] in loaded.stop_tokens else "length")


def test_of_a_batch_each_row_thinks_or_does_not(loaded: LoadedModel):
    prompts = [Prompt(text, text, max_new_tokens=6, thinking_tokens=7) for text in TEXTS]
    alone = answers(loaded, [Prompt(text, text, max_new_tokens=6) for text in TEXTS])
    with eager_for(loaded, (MARKS.opening, slice(0, 1), 100)):  # the longest, which comes first
        together = answers(loaded, prompts)
    assert [together[text].thought_tokens for text in TEXTS] == [0, 0, 7]
    for text in TEXTS[:2]:  # which write what they write without a budget
        assert together[text].token_ids == alone[text].token_ids
        assert together[text].text == alone[text].text


def test_a_thought_cannot_end_the_answer(loaded: LoadedModel):
    passes: list[int] = []
    hook = loaded.model.lm_head.register_forward_hook(lambda *_: passes.append(1))
    with eager_for(loaded, (MARKS.opening, slice(None), 100), (STOP, slice(None), 90)):
        (finished,) = Engine(loaded).run([Prompt("a", TEXTS[0], max_new_tokens=6, thinking_tokens=5)], IMAGES)
    hook.remove()
    assert finished.failures == (Failure("a", "empty answer"),)
    assert len(passes) == 5 + 1  # the whole thought, and then the stop token


@pytest.mark.parametrize("budget", [0, 5])
def test_a_grammar_begins_after_the_thought(loaded: LoadedModel, budget: int):
    prompts = [
        Prompt(text, text, max_new_tokens=40, thinking_tokens=budget, json_schema=json.dumps(SCHEMA)) for text in TEXTS
    ]
    with eager_for(loaded, (MARKS.opening, slice(0, 2), 100)):
        found = answers(loaded, prompts)
    assert [found[text].thought_tokens for text in TEXTS] == [0, budget, budget]
    for text in TEXTS:
        jsonschema.validate(json.loads(found[text].text), SCHEMA)
        assert found[text].finish_reason == "stop"
    plain = answers(loaded, [Prompt("a", TEXTS[0], max_new_tokens=40, json_schema=json.dumps(SCHEMA))])["a"]
    assert found[TEXTS[0]].token_ids == plain.token_ids


def test_two_choices_hold_their_share_of_the_probability_that_is_left_without_a_thought(loaded: LoadedModel):
    prompts = [Prompt(text, text, choices=("Yes", "No"), thinking_tokens=9) for text in TEXTS]
    yes, no = (loaded.processor.tokenizer.encode(word, add_special_tokens=False)[0] for word in ("Yes", "No"))
    for wishes in ((), ((yes, slice(None), 12.0),), ((yes, slice(None), 12.0), (MARKS.opening, slice(None), 100.0))):
        with eager_for(loaded, *wishes):
            for text, answer in answers(loaded, prompts).items():
                content = [{"type": "text", "text": text}]
                inputs = loaded.processor.apply_chat_template(
                    [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt",
                    add_generation_prompt=True,
                )  # fmt: skip
                with torch.no_grad():
                    logits = loaded.model(**inputs).logits[0, -1].double()
                logits[MARKS.opening] = -torch.inf
                shares = logits.exp() / logits.exp().sum()
                assert answer.choice_mass == pytest.approx((shares[yes] + shares[no]).item(), rel=1e-4)
                assert answer.probability == pytest.approx((shares[yes] / (shares[yes] + shares[no])).item(), abs=1e-5)
                assert (answer.choice_mass > 0.5) == bool(wishes)


def test_a_tokenizer_without_the_marks_thinks_nothing(small_checkpoint: Path, tmp_path: Path):
    for file in small_checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    text = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace("<unused94>", "<other>"))
    unmarked = load_model(resolve_source(str(tmp_path), None, None), "fp32", "cpu", None)
    assert thought_marks(unmarked.processor.tokenizer) is None
    written = {
        budget: answers(unmarked, [Prompt(t, t, max_new_tokens=6, thinking_tokens=budget) for t in TEXTS])
        for budget in (0, 9)
    }
    for text in TEXTS:
        assert written[0][text].token_ids == written[9][text].token_ids
        assert written[9][text].thought_tokens == 0
