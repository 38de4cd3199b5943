"""Attention that is wrong in the ways in which fused kernels were wrong, put in the place of PyTorch's."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from models.errors import InputError
from models.report_generation.medgemma.attention_check import LARGEST_GAPS, choose_attention, padding_gap
from models.report_generation.medgemma.checkpoint import LoadedModel, Source, load_model, resolve_source
from tests.support import medgemma_twin

SOUND = F.scaled_dot_product_attention


@pytest.fixture(scope="module")
def source(small_checkpoint: Path) -> Source:
    return resolve_source(str(small_checkpoint), None, None)


@pytest.fixture(autouse=True)
def _as_before():
    before = torch.backends.cuda.cudnn_sdp_enabled()
    yield
    torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.fixture
def wrong_where(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., bool]], None]:
    """Let attention ignore its mask in the first head, wherever a function of query, key and mask says so."""

    def replace(wrong: Callable[..., bool]) -> None:
        def attention(query: Any, key: Any, value: Any, attn_mask: Any = None, **further: Any) -> torch.Tensor:
            out = SOUND(query, key, value, attn_mask=attn_mask, **further)
            if attn_mask is not None and wrong(query, key, attn_mask):
                out[:, 0] = SOUND(query, key, value, **further)[:, 0]
            return out

        monkeypatch.setattr(F, "scaled_dot_product_attention", attention)

    return replace


def hides_columns(mask: torch.Tensor) -> bool:
    """Whether the last token of some row may not look at the first column, as where it is padded."""
    seen = mask[:, :, -1, 0]
    return bool((~seen if seen.dtype == torch.bool else seen < 0).any())


def at_one_more_than_32(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor) -> bool:
    return mask.shape[2] > 1 and key.shape[2] % 32 == 1 and hides_columns(mask)


def with_cudnn(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor) -> bool:
    return torch.backends.cuda.cudnn_sdp_enabled() and hides_columns(mask)


def while_decoding(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor) -> bool:
    return mask.shape[2] == 1 and hides_columns(mask)


def in_batches(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor) -> bool:
    return len(query) > 1


@pytest.mark.parametrize("precision", ["fp32", "bf16", "nf4"])
def test_sound_attention_is_kept_and_nothing_is_said(source: Source, precision: Any, caplog):
    caplog.set_level(logging.INFO, logger="models")
    assert load_model(source, precision, "cpu", None).attention == "sdpa"
    assert not [record for record in caplog.records if record.name.startswith("models")]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("wrong", [at_one_more_than_32, while_decoding, in_batches])
def test_attention_that_is_wrong_under_some_masks_gives_way_to_eager(
    source: Source, wrong: Callable, precision: Any, wrong_where, caplog
):
    wrong_where(wrong)
    loaded = load_model(source, precision, "cpu", None)
    assert loaded.attention == "eager"
    assert loaded.model.config.text_config._attn_implementation == "eager"
    assert loaded.model.config.vision_config._attn_implementation == "sdpa"
    assert torch.backends.cuda.cudnn_sdp_enabled()  # which was not to blame
    assert padding_gap(loaded.model, loaded.processor) < LARGEST_GAPS[precision]
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("models")]
    assert said.startswith("Padding changes the model's logits under sdpa (by ")
    assert said.endswith("; attention is computed by: eager.")


def test_attention_that_is_wrong_in_cudnn_alone_keeps_the_other_kernels(source: Source, wrong_where, caplog):
    wrong_where(with_cudnn)
    loaded = load_model(source, "fp32", "cpu", None)
    assert loaded.attention == "sdpa without cuDNN"
    assert loaded.model.config.text_config._attn_implementation == "sdpa"
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert "attention is computed by: sdpa without cuDNN." in caplog.text
    assert load_model(source, "fp32", "cpu", None).attention == "sdpa without cuDNN"  # the next one of the process too


def test_attention_that_is_never_right_is_refused_in_one_sentence(source: Source, wrong_where):
    def broken(module: torch.nn.Module, arguments: tuple, named: dict) -> None:
        named["attention_mask"] = None  # what no attention can mend

    wrong_where(in_batches)
    loaded = load_model(source, "fp32", "cpu", None)
    hook = loaded.model.register_forward_pre_hook(broken, with_kwargs=True)
    try:
        with pytest.raises(InputError, match=r"Padding changes .* \(sdpa, sdpa without cuDNN, eager\)"):
            choose_attention(loaded.model, loaded.processor, "fp32")
    finally:
        hook.remove()


def test_padding_that_is_not_finite_is_no_gap_of_rounding(source: Source, monkeypatch: pytest.MonkeyPatch):
    loaded = load_model(source, "fp32", "cpu", None)

    def attention(query: Any, key: Any, value: Any, attn_mask: Any = None, **further: Any) -> torch.Tensor:
        out = SOUND(query, key, value, attn_mask=attn_mask, **further)
        return out * float("nan") if attn_mask is not None and hides_columns(attn_mask) else out

    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    assert padding_gap(loaded.model, loaded.processor) == float("inf")


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_rounding_stays_far_below_the_bound_and_a_fault_far_above(
    source: Source, precision: str, dtype: torch.dtype, wrong_where, monkeypatch: pytest.MonkeyPatch
):
    """With as many layers as MedGemma 4B has, in which rounding adds up."""
    processor = load_model(source, "fp32", "cpu", None).processor
    monkeypatch.setitem(medgemma_twin._TEXT, "small", medgemma_twin._TEXT["small"] | {"num_hidden_layers": 34})
    deep = LoadedModel(medgemma_twin.build_model(dtype=dtype), processor, "cpu", precision, source, (1,), 0.0)  # type: ignore[arg-type]
    assert padding_gap(deep.model, deep.processor) < LARGEST_GAPS[precision] / 3
    wrong_where(at_one_more_than_32)
    assert padding_gap(deep.model, deep.processor) > LARGEST_GAPS[precision] * 3
