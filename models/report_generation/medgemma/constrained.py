"""Decoding in which only such tokens can be written as continue a JSON document of a schema.

After Dong et al., XGrammar: Flexible and Efficient Structured Generation Engine for Large Language Models, 2024.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from transformers import LogitsProcessor

_GRAMMARS_KEPT = 32
_FIRST_PRINTABLE = 0x20
_compiling = threading.Lock()


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model can write. Two are equal when all but the way to the tokenizer is.

    Attributes:
        source: the checkpoint, which decides the tokenizer.
        size: width of the model's logits, which may be more than the tokenizer has tokens.
        stop_tokens: ids of the tokens that may end a complete document.
        tokenizer: gives the checkpoint's tokenizer; called only where there is something to compile.
    """

    source: Hashable
    size: int
    stop_tokens: tuple[int, ...]
    tokenizer: Callable[[], Any] = field(compare=False, repr=False)


def compile_constraint(vocabulary: Vocabulary, json_schema: str) -> Any:
    """Compile a schema, once a process: of MedGemma's 262,208 tokens that takes 11 seconds of processor.

    The document has a space after each colon and comma and no other white space between its parts, since a model could
    fill its length limit with that. Control characters and, but for the stop tokens, special tokens cannot be written.

    Args:
        vocabulary: what can be written.
        json_schema: JSON schema, in JSON.

    Returns:
        xgrammar's compiled grammar, which any number of constraints share.

    Raises:
        RuntimeError: the schema is no JSON schema that can be compiled.
    """
    with _compiling:  # who asks meanwhile waits and finds it
        return _compiled_grammar(vocabulary, json_schema)


class JsonConstraint(LogitsProcessor):
    """Holds each row of a batch to a schema, until that row has ended, in one call of `generate`; serves no second one.

    The masks are those of `xgrammar.contrib.hf.LogitsProcessor`, which fetches the last token of each row by itself, so
    that the GPU is waited for once a row. Here all are fetched at once and the rows' masks are filled in parallel.
    """

    def __init__(self, vocabulary: Vocabulary, json_schema: str, thought: tuple[int, int] | None = None) -> None:
        """Prepare a constraint, as `compile_constraint` does where that was not done before.

        Args:
            vocabulary: as there.
            json_schema: as there.
            thought: ids of the tokens that open and close a thought. A row may open one with its first token, and is
                held to the schema when it has closed it. None where nothing may come before the document.
        """
        from xgrammar import BatchGrammarMatcher

        self._grammar = compile_constraint(vocabulary, json_schema)
        self._size = vocabulary.size
        self._batch = BatchGrammarMatcher()
        self._matchers: list[Any] = []
        self._writing: list[int] = []  # rows that have begun their document and not ended it
        self._thinking: set[int] = set()
        self._thought, self._may_open = thought, False
        self._bitmask = torch.empty(0)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Forbid the tokens with which no row can go on.

        Args:
            input_ids: tokens so far, shape (rows, tokens); the last one is new, but in the first call.
            scores: logits of the next token, shape (rows, vocabulary); changed in place.

        Returns:
            The scores. A row that has ended keeps its last mask; whatever is written there is padding.

        Raises:
            RuntimeError: a row was given a token that its mask forbids, or the batch has changed its size.
        """
        from xgrammar import apply_token_bitmask_inplace

        if not self._matchers:
            self._begin(len(input_ids), scores.device)
        elif len(input_ids) != len(self._matchers):
            raise RuntimeError(f"the constraint holds {len(self._matchers)} rows, not {len(input_ids)}")
        else:
            self._advance(input_ids[:, -1].tolist())
        self._fill()
        mask = self._bitmask.to(scores.device, non_blocking=True)
        apply_token_bitmask_inplace(scores, mask, backend=_backend(scores.device.type))
        return scores

    def _begin(self, rows: int, device: torch.device) -> None:
        from xgrammar import GrammarMatcher
        from xgrammar.matcher import get_bitmask_shape

        self._matchers = [GrammarMatcher(self._grammar) for _ in range(rows)]
        self._writing = list(range(rows))
        self._may_open = self._thought is not None
        # Pinned, so that nobody waits for its copy, which is done when the next token is here and it is filled anew.
        self._bitmask = torch.full(
            get_bitmask_shape(rows, self._size), -1, dtype=torch.int32, pin_memory=device.type == "cuda"
        )

    def _in_turn(self) -> list[Any]:
        return [self._matchers[row] for row in self._writing]

    def _fill(self) -> None:
        # NumPy's view, since xgrammar takes memory of the CPU only and a pinned tensor can call itself the GPU's.
        masks = self._bitmask.numpy()
        if self._writing:
            self._batch.batch_fill_next_token_bitmask(self._in_turn(), masks, self._writing)
        masks[sorted(self._thinking)] = -1
        if self._may_open and self._thought:
            word, bit = divmod(self._thought[0], 32)
            masks.view(np.uint32)[:, word] |= np.uint32(1 << bit)

    def _advance(self, last: list[int]) -> None:
        closed = []
        if self._thought:
            opening, closing = self._thought
            if self._may_open:
                self._thinking = {row for row, token in enumerate(last) if token == opening}
                self._writing = [row for row in self._writing if row not in self._thinking]
            closed = [row for row in sorted(self._thinking) if last[row] == closing]
            self._thinking.difference_update(closed)
        self._may_open = False
        tokens = [last[row] for row in self._writing]
        accepted = self._batch.batch_accept_token(self._in_turn(), tokens)
        if not all(accepted):
            raise RuntimeError(f"token {tokens[accepted.index(False)]} does not go on with a document of the schema")
        self._writing = [row for row in self._writing if not self._matchers[row].is_terminated()] + closed


@lru_cache(maxsize=_GRAMMARS_KEPT)
def _compiled_grammar(vocabulary: Vocabulary, json_schema: str) -> Any:
    return _compiler(vocabulary).compile_json_schema(json_schema, any_whitespace=False)


@lru_cache(maxsize=2)
def _compiler(vocabulary: Vocabulary) -> Any:
    import xgrammar

    tokenizer, stop_tokens = vocabulary.tokenizer(), list(vocabulary.stop_tokens)
    found = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary.size, stop_token_ids=stop_tokens)
    # In a string a special token would count as the characters of its name, and be gone from the decoded text.
    # Raw control characters are not allowed in JSON's strings, though xgrammar 0.2 lets most of them pass.
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    tokens = [
        b"" if token in special or any(byte < _FIRST_PRINTABLE for byte in text) else text
        for token, text in enumerate(found.decoded_vocab)
    ]
    return xgrammar.GrammarCompiler(
        xgrammar.TokenizerInfo(
            tokens,
            vocab_size=vocabulary.size,
            stop_token_ids=stop_tokens,
            add_prefix_space=found.add_prefix_space,
        )
    )


@lru_cache
def _backend(device: str) -> Literal["auto", "triton", "torch_native"]:
    """Choose how a mask is applied: by xgrammar's Triton kernel on a GPU, if there is the C compiler that it needs."""
    if device != "cuda":
        return "auto"
    from xgrammar import apply_token_bitmask_inplace

    try:
        tried = torch.zeros(1, 32, device=device)
        apply_token_bitmask_inplace(tried, torch.zeros(1, 1, dtype=torch.int32, device=device), backend="triton")
        torch.cuda.synchronize()
    except Exception:  # Triton, its launcher and the compiler raise errors of many types
        return "torch_native"
    return "triton"
