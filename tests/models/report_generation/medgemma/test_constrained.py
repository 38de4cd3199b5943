import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import jsonschema
import pytest
import torch
import xgrammar
from transformers import AutoTokenizer
from xgrammar.contrib.hf import LogitsProcessor

from models.report_generation.medgemma import constrained
from models.report_generation.medgemma.constrained import JsonConstraint, Vocabulary, compile_constraint

STOP_TOKENS = (1, 106)
VOCABULARY = 2048
SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"enum": ["normal", "pneumonia"]},
        "text": {"type": "string", "pattern": "^[A-Za-z ,.]{3,30}$"},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-z]{1,9}$"},
                    "presence": {"enum": ["present", "absent"]},
                },
                "required": ["name", "presence"],
                "additionalProperties": False,
            },
            "maxItems": 3,
        },
    },
    "required": ["label", "text", "findings"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tokenizer(small_checkpoint: Path) -> Any:
    return AutoTokenizer.from_pretrained(small_checkpoint)


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Any) -> Vocabulary:
    return Vocabulary("small", VOCABULARY, STOP_TOKENS, lambda: tokenizer)


def write(
    tokenizer: Any,
    schema: dict,
    *,
    rows: int,
    seed: int,
    limit: int = 300,
    width: int = VOCABULARY,
    make: Callable[[Vocabulary, str], Any] = JsonConstraint,
) -> list:
    """Write as `generate` does, with random logits: rows that have ended get padding until the last one has."""
    constraint = make(Vocabulary("small", width, STOP_TOKENS, lambda: tokenizer), json.dumps(schema))
    chance = torch.Generator().manual_seed(seed)
    written = torch.zeros((rows, 0), dtype=torch.long)
    ended = torch.zeros(rows, dtype=torch.bool)
    while not ended.all() and written.shape[1] < limit:
        tokens = constraint(written, torch.randn(rows, width, generator=chance)).argmax(-1)
        tokens[ended] = tokenizer.pad_token_id
        written = torch.cat([written, tokens[:, None]], dim=1)
        ended |= torch.isin(tokens, torch.tensor(STOP_TOKENS))
    return [line[: line.index(tokenizer.pad_token_id)] if tokenizer.pad_token_id in line else line
            for line in written.tolist()]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_satisfies_the_schema(tokenizer: Any, seed: int):
    lines = write(tokenizer, SCHEMA, rows=6, seed=seed)
    assert len({len(line) for line in lines}) > 1  # so some rows go on while others have ended
    for line in lines:
        assert line[-1] in STOP_TOKENS
        jsonschema.validate(json.loads(tokenizer.decode(line[:-1])), SCHEMA)


def test_strings_hold_neither_control_characters_nor_special_tokens(tokenizer: Any):
    schema = {"type": "string", "minLength": 20, "maxLength": 40}
    for line in write(tokenizer, schema, rows=40, seed=0):
        assert line[-1] in STOP_TOKENS
        assert not set(line[:-1]) & set(range(110))  # where this tokenizer has its special tokens
        json.loads(tokenizer.decode(line[:-1]))  # which refuses control characters


def test_both_stop_tokens_may_end_a_document(tokenizer: Any):
    last = {line[-1] for seed in range(4) for line in write(tokenizer, {"enum": ["a"]}, rows=6, seed=seed)}
    assert last == set(STOP_TOKENS)


def test_there_is_no_free_white_space(tokenizer: Any):
    schema = {"type": "object", "properties": {"a": {"enum": [1]}, "b": {"enum": [2]}}, "required": ["a", "b"]}
    schema["additionalProperties"] = False
    texts = {tokenizer.decode(line[:-1]) for line in write(tokenizer, schema, rows=20, seed=0)}
    assert texts == {'{"a": 1, "b": 2}'}


def test_logits_may_be_wider_than_the_tokenizer(tokenizer: Any):
    lines = write(tokenizer, {"enum": ["normal", "pneumonia"]}, rows=8, seed=0, width=VOCABULARY + 100)
    assert {json.loads(tokenizer.decode(line[:-1])) for line in lines} == {"normal", "pneumonia"}


def contributed(vocabulary: Vocabulary, schema: str) -> LogitsProcessor:
    return LogitsProcessor(compile_constraint(vocabulary, schema))


def test_the_masks_are_those_of_xgrammars_own_processor_in_a_batch_whose_rows_end_apart(tokenizer: Any):
    masks: dict[str, list[torch.Tensor]] = {"ours": [], "theirs": []}

    def recording(name: str, make: Callable[[Vocabulary, str], Any]) -> Callable[[Vocabulary, str], Any]:
        def made(vocabulary: Vocabulary, schema: str) -> Any:
            constraint = make(vocabulary, schema)

            def call(written: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
                masks[name].append(constraint(written, scores).clone())
                return masks[name][-1]

            return call

        return made

    ours, theirs = (
        write(tokenizer, SCHEMA, rows=9, seed=3, make=recording(name, make))
        for name, make in (("ours", JsonConstraint), ("theirs", contributed))
    )
    assert ours == theirs
    assert len({len(line) for line in ours}) > 3
    assert len(masks["ours"]) == len(masks["theirs"]) > 20
    assert all(torch.equal(*pair) for pair in zip(masks["ours"], masks["theirs"], strict=True))


def transfers(tokenizer: Any, monkeypatch: pytest.MonkeyPatch, rows: int, make: Any) -> dict[str, float]:
    """Count what could fetch a value from a GPU, or bring one there, by step: the same calls that do so there."""
    calls: Counter = Counter()
    with monkeypatch.context() as patched:
        for name in ("item", "tolist", "cpu", "cuda", "numpy", "to", "copy_", "__bool__", "__int__", "__index__"):
            original = getattr(torch.Tensor, name)

            def counted(self: Any, *arguments: Any, _name: str = name, _call: Any = original, **named: Any) -> Any:
                calls[_name] += 1
                return _call(self, *arguments, **named)

            patched.setattr(torch.Tensor, name, counted)
        constraint = make(Vocabulary("small", VOCABULARY, STOP_TOKENS, lambda: tokenizer), json.dumps(SCHEMA))
        written, steps = torch.full((rows, 1), 2), 8
        for _ in range(steps):
            scores = constraint(written, torch.zeros(rows, VOCABULARY))
            written = torch.cat([written, scores.argmax(-1, keepdim=True)], dim=1)
    return {name: count / steps for name, count in calls.items()}


def test_a_step_fetches_once_and_brings_once_however_many_the_rows(tokenizer: Any, monkeypatch: pytest.MonkeyPatch):
    compile_constraint(Vocabulary("small", VOCABULARY, STOP_TOKENS, lambda: tokenizer), json.dumps(SCHEMA))
    few, many = (transfers(tokenizer, monkeypatch, rows, JsonConstraint) for rows in (2, 30))
    assert few == many == {"tolist": 7 / 8, "to": 1, "numpy": 1}  # the first step has nothing to fetch; of CPU memory
    theirs = [transfers(tokenizer, monkeypatch, rows, contributed) for rows in (2, 30)]
    assert [found["item"] for found in theirs] == [2 * 7 / 8, 30 * 7 / 8]  # what is counted would show


OPENING, CLOSING = 20, 21  # two of this tokenizer's unused tokens


@pytest.mark.parametrize("make", [JsonConstraint, contributed], ids=["ours", "theirs"])
def test_a_row_that_thinks_first_is_held_to_the_schema_from_the_end_of_its_thought_on(tokenizer: Any, make: Any):
    vocabulary, schema = Vocabulary("small", VOCABULARY, STOP_TOKENS, lambda: tokenizer), json.dumps(SCHEMA)
    constraint = JsonConstraint(vocabulary, schema, thought=(OPENING, CLOSING))
    # By row: its tokens of thought, then whatever is allowed. The second opens none, the third writes only its marks.
    thoughts = ([OPENING, 300, 1, OPENING, 301, CLOSING], [], [OPENING, CLOSING], [OPENING, *[400] * 11, CLOSING])
    alone = [make(vocabulary, schema) for _ in thoughts]
    written, chance = torch.zeros((4, 0), dtype=torch.long), torch.Generator().manual_seed(1)
    documents: list[list[int]] = [[] for _ in thoughts]
    for step in range(300):
        logits = torch.randn(4, VOCABULARY, generator=chance)
        masked = constraint(written, logits.clone())
        chosen = []
        for row, thought in enumerate(thoughts):
            if step < len(thought):
                assert torch.isfinite(masked[row, thought[step]])
                if step:
                    assert torch.isfinite(masked[row]).all()  # a thought is free
                chosen.append(thought[step])
                continue
            document = documents[row]
            if document and document[-1] in STOP_TOKENS:
                chosen.append(tokenizer.pad_token_id)
                continue
            expected = alone[row](torch.tensor([document], dtype=torch.long), logits[row : row + 1].clone())[0]
            if step == 0:
                expected[OPENING] = logits[row, OPENING]  # as any row may, with its first token
            assert torch.equal(masked[row], expected)
            expected[OPENING] = -torch.inf
            document.append(int(expected.argmax()))
            chosen.append(document[-1])
        written = torch.cat([written, torch.tensor(chosen)[:, None]], dim=1)
        if all(document and document[-1] in STOP_TOKENS for document in documents):
            break
    for document in documents:
        jsonschema.validate(json.loads(tokenizer.decode(document[:-1])), SCHEMA)


def test_a_forbidden_token_and_another_batch_are_refused(vocabulary: Vocabulary):
    constraint = JsonConstraint(vocabulary, '{"enum": ["normal"]}')
    constraint(torch.zeros((2, 0), dtype=torch.long), torch.zeros(2, VOCABULARY))
    with pytest.raises(RuntimeError, match="token 5 does not go on"):
        constraint(torch.full((2, 1), 5), torch.zeros(2, VOCABULARY))
    with pytest.raises(RuntimeError, match="holds 2 rows, not 3"):
        constraint(torch.full((3, 1), 5), torch.zeros(3, VOCABULARY))


def test_without_a_c_compiler_on_a_gpu_the_mask_is_applied_by_torch(monkeypatch: pytest.MonkeyPatch):
    tried = []

    def apply(scores: torch.Tensor, mask: torch.Tensor, *, backend: str) -> None:
        tried.append(backend)
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")

    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *shape, device=None, **named: zeros(*shape, **named))
    monkeypatch.setattr(xgrammar, "apply_token_bitmask_inplace", apply)
    assert constrained._backend.__wrapped__("cuda") == "torch_native"
    assert tried == ["triton"]
    assert constrained._backend.__wrapped__("cpu") == "auto"


@pytest.mark.parametrize("backend", ["cpu", "torch_native"])
def test_either_way_to_apply_a_mask_gives_the_same(vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch, backend):
    monkeypatch.setattr(constrained, "_backend", lambda device: backend)
    constraint = JsonConstraint(vocabulary, '{"type": "boolean"}')
    scores = constraint(torch.zeros((3, 0), dtype=torch.long), torch.zeros(3, VOCABULARY))
    allowed = [torch.isfinite(row).nonzero().flatten().tolist() for row in scores]
    assert allowed[0] == allowed[1] == allowed[2]
    assert allowed[0] == sorted(allowed[0])
    assert {vocabulary.tokenizer().decode([token])[:1] for token in allowed[0]} == {"t", "f"}


def test_a_constraint_serves_one_call_and_the_next_one_starts_anew(tokenizer: Any):
    schema = {"enum": ["normal"]}
    assert write(tokenizer, schema, rows=1, seed=0) == write(tokenizer, schema, rows=1, seed=0)


def test_a_schema_is_compiled_once_for_equal_checkpoints_whatever_object_their_tokenizer_is(tokenizer: Any):
    asked: list[int] = []

    def vocabulary(source: str, name: int) -> Vocabulary:
        return Vocabulary(source, VOCABULARY, STOP_TOKENS, lambda: asked.append(name) or tokenizer)

    schema = '{"enum": ["once"]}'
    first = compile_constraint(vocabulary("one checkpoint", 1), schema)
    assert compile_constraint(vocabulary("one checkpoint", 2), schema) is first
    assert compile_constraint(vocabulary("another checkpoint", 3), schema) is not first
    assert asked == [1, 3]  # the other tokenizers were not even loaded


def test_two_that_ask_at_once_compile_once(tokenizer: Any):
    asked, found = [], []
    vocabulary = Vocabulary("at once", VOCABULARY, STOP_TOKENS, lambda: asked.append(1) or tokenizer)
    ask = [Thread(target=lambda: found.append(compile_constraint(vocabulary, json.dumps(SCHEMA)))) for _ in range(4)]
    for each in ask:
        each.start()
    for each in ask:
        each.join()
    assert len(asked) == 1
    assert len({id(one) for one in found}) == 1


def test_what_is_no_schema_is_refused(vocabulary: Vocabulary):
    with pytest.raises(RuntimeError):
        JsonConstraint(vocabulary, '{"type": "nonsense"}')
