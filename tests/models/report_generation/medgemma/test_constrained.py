import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from transformers import AutoTokenizer

from models.report_generation.medgemma.constrained import json_constraint

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


def write(tokenizer: Any, schema: dict, *, rows: int, seed: int, limit: int = 300, width: int = VOCABULARY) -> list:
    """Write as `generate` does, with random logits: rows that have ended get padding until the last one has."""
    constraint = json_constraint(tokenizer, json.dumps(schema), width, STOP_TOKENS)
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


def test_a_constraint_serves_one_call_and_the_next_one_starts_anew(tokenizer: Any):
    schema = {"enum": ["normal"]}
    first, second = (json_constraint(tokenizer, json.dumps(schema), VOCABULARY, STOP_TOKENS) for _ in range(2))
    assert first is not second
    assert write(tokenizer, schema, rows=1, seed=0) == write(tokenizer, schema, rows=1, seed=0)


def test_what_is_no_schema_is_refused(tokenizer: Any):
    with pytest.raises(RuntimeError):
        json_constraint(tokenizer, '{"type": "nonsense"}', VOCABULARY, STOP_TOKENS)
