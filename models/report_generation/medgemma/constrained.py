"""Decoding in which only such tokens can be written as continue a JSON document of a schema.

After Dong et al., XGrammar: Flexible and Efficient Structured Generation Engine for Large Language Models, 2024.
"""

from functools import lru_cache
from typing import Any

_SCHEMAS_KEPT = 32
_FIRST_PRINTABLE = 0x20


def json_constraint(tokenizer: Any, json_schema: str, vocab_size: int, stop_tokens: tuple[int, ...]) -> Any:
    """Make the constraint for one call of `generate`; it keeps state and serves no second one.

    The document has a space after each colon and comma and no other white space between its parts, since a model could
    fill its length limit with that. Control characters and, but for the stop tokens, special tokens cannot be written.

    Args:
        tokenizer: the model's tokenizer.
        json_schema: JSON schema, in JSON.
        vocab_size: width of the model's logits, which may be more than the tokenizer has tokens.
        stop_tokens: ids of the tokens that may end a complete document.

    Returns:
        A logits processor of transformers. It holds each row of a batch to the schema, until that row has ended.

    Raises:
        RuntimeError: the schema is no JSON schema that can be compiled.
    """
    from xgrammar.contrib.hf import LogitsProcessor

    return LogitsProcessor(_compiled_grammar(tokenizer, json_schema, vocab_size, stop_tokens))


@lru_cache(maxsize=_SCHEMAS_KEPT)
def _compiled_grammar(tokenizer: Any, json_schema: str, vocab_size: int, stop_tokens: tuple[int, ...]) -> Any:
    return _compiler(tokenizer, vocab_size, stop_tokens).compile_json_schema(json_schema, any_whitespace=False)


@lru_cache(maxsize=2)
def _compiler(tokenizer: Any, vocab_size: int, stop_tokens: tuple[int, ...]) -> Any:
    import xgrammar

    found = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocab_size, stop_token_ids=list(stop_tokens))
    # In a string a special token would count as the characters of its name, and be gone from the decoded text.
    # Raw control characters are not allowed in JSON's strings, though xgrammar 0.2 lets most of them pass.
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    vocabulary = [
        b"" if token in special or any(byte < _FIRST_PRINTABLE for byte in text) else text
        for token, text in enumerate(found.decoded_vocab)
    ]
    return xgrammar.GrammarCompiler(
        xgrammar.TokenizerInfo(
            vocabulary,
            vocab_size=vocab_size,
            stop_token_ids=list(stop_tokens),
            add_prefix_space=found.add_prefix_space,
        )
    )
