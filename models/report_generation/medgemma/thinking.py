"""The block of thought with which MedGemma 1.5 may begin its answer: barred, or held to a budget, and cut off.

The block is `<unused94>thought`, the thought, `<unused95>`. Tokenizers without these two tokens think nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor

OPENING, CLOSING = "<unused94>", "<unused95>"

SHORTEST_THOUGHT = 2
"""Tokens of a block: its two marks."""


@dataclass(frozen=True)
class ThoughtMarks:
    """Ids of the tokens around a thought."""

    opening: int
    closing: int


def thought_marks(tokenizer: Any) -> ThoughtMarks | None:
    """Look up the marks by their names; None where the tokenizer lacks them."""
    vocabulary = tokenizer.get_vocab()
    if OPENING not in vocabulary or CLOSING not in vocabulary:
        return None
    return ThoughtMarks(vocabulary[OPENING], vocabulary[CLOSING])


def without_thought(tokens: Sequence[int], marks: ThoughtMarks | None) -> tuple[list[int], int]:
    """Cut the thought off what was written.

    Args:
        tokens: what was written, from the first token on.
        marks: the marks, or None where there are none.

    Returns:
        The answer, empty where the thought does not end, and how many tokens the thought took, marks included.
    """
    if marks is None or not tokens or tokens[0] != marks.opening:
        return list(tokens), 0
    length = tokens.index(marks.closing) + 1 if marks.closing in tokens else len(tokens)
    return list(tokens[length:]), length


class ThoughtBudget(LogitsProcessor):
    """Lets a block of thought stand at the start of an answer only, and closes it when its budget is used up.

    A thought cannot end the answer: while it lasts, stop tokens are barred. The GPU is never waited for.
    """

    def __init__(self, marks: ThoughtMarks, budget: int, stop_tokens: Sequence[int], width: int) -> None:
        """Prepare for one call of `generate`.

        Args:
            marks: the marks.
            budget: tokens of the block, its marks included; below `SHORTEST_THOUGHT` none is opened.
            stop_tokens: tokens that end an answer.
            width: tokens of the padded prompt.
        """
        self._marks = marks
        self._budget = budget
        self._stop_tokens = list(stop_tokens)
        self._width = width

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Bar what may not follow.

        Args:
            input_ids: tokens so far, shape (rows, tokens).
            scores: logits of the next token, shape (rows, vocabulary); changed in place.

        Returns:
            The scores.
        """
        opening, closing, never = self._marks.opening, self._marks.closing, float("-inf")
        written = input_ids[:, self._width :]
        if not written.shape[1]:
            scores[:, closing] = never
            if self._budget < SHORTEST_THOUGHT:
                scores[:, opening] = never
            return scores
        scores[:, opening] = never
        if self._budget < SHORTEST_THOUGHT:
            scores[:, closing] = never
            return scores
        thinks = (written[:, 0] == opening) & ~(written == closing).any(dim=1)
        scores[:, closing] = scores[:, closing].masked_fill(~thinks, never)
        if written.shape[1] >= self._budget - 1:
            only = torch.full_like(scores[0], never)
            only[closing] = 0
            return torch.where(thinks[:, None], only, scores)
        stops = scores[:, self._stop_tokens]
        scores[:, self._stop_tokens] = stops.masked_fill(thinks[:, None], never)
        return scores
