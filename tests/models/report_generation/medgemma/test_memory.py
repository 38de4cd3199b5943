import pytest
import torch
from transformers import DynamicCache, Gemma3Config, StaticCache

from models.report_generation.medgemma.memory import (
    MOST_IMAGES,
    MOST_ROWS,
    cache_bytes,
    decode_bytes,
    images_that_fit,
    row_bytes,
    rows_that_fit,
)
from tests.support.medgemma_twin import build_model, config_of

GIB = 2**30
MEDGEMMA = config_of("4b")
NF4_ON_T4 = 14.6 - 0.4 - 5.61  # GiB: what a T4 of 15 GB tells, less CUDA's own, less NF4 with the rest in fp32
NF4_ON_H100 = 79.1 - 0.6 - 3.57
BF16_ON_H100 = 79.1 - 0.6 - 8.01


@pytest.fixture(scope="module")
def twin():
    return build_model("small")


def filled(model: torch.nn.Module, cache: DynamicCache | StaticCache, rows: int, prompt: int, more: int):
    with torch.inference_mode():
        model(input_ids=torch.full((rows, prompt), 200), past_key_values=cache, logits_to_keep=1)
        for _ in range(more):
            model(input_ids=torch.full((rows, 1), 200), past_key_values=cache, logits_to_keep=1)
    return sum(tensor.untyped_storage().nbytes() for layer in cache.layers for tensor in (layer.keys, layer.values))


@pytest.mark.parametrize("more", [1, 30])
@pytest.mark.parametrize("prompt", [10, 64, 90])
def test_a_cache_takes_the_bytes_that_it_is_said_to(twin, prompt: int, more: int):
    """Before and beyond the sliding window of 64 tokens."""
    text = twin.config.text_config
    assert text.layer_types.count("sliding_attention") == 2
    found = filled(twin, DynamicCache(config=text), 3, prompt, more)
    assert found == 3 * cache_bytes(twin.config, length=prompt + more, bytes_per_number=4)


def test_a_static_cache_takes_its_whole_length(twin):
    found = filled(twin, StaticCache(config=twin.config.text_config, max_cache_len=96), 2, 10, 3)
    assert found == 2 * cache_bytes(twin.config, length=96, bytes_per_number=4)


def test_a_row_of_medgemma_takes_what_was_worked_out_by_hand():
    assert cache_bytes(MEDGEMMA, length=1000, bytes_per_number=4) == 2 * 4 * 256 * 34 * 1000 * 4 == 278_528_000
    assert cache_bytes(MEDGEMMA, length=2024, bytes_per_number=2) == 2 * 4 * 256 * (29 * 1024 + 5 * 2024) * 2
    assert row_bytes(MEDGEMMA, width=600, new_tokens=400, bytes_per_number=4) == 314_702_208
    assert pytest.approx(18.8, abs=0.05) == 64 * 314_702_208 / GIB  # more than the 15 GiB of a T4


def test_a_long_prompt_is_dearest_in_its_own_pass():
    short = row_bytes(MEDGEMMA, width=4000, new_tokens=1, bytes_per_number=2)
    longer = row_bytes(MEDGEMMA, width=4000, new_tokens=2, bytes_per_number=2)
    assert longer == short
    assert row_bytes(MEDGEMMA, width=4000, new_tokens=2, bytes_per_number=2, static=True) > short


@pytest.mark.parametrize(
    ("free_gib", "width", "bytes_per_number", "rows"),
    [
        (NF4_ON_T4, 600, 4, 16),
        (NF4_ON_H100, 600, 2, 256),
        (BF16_ON_H100, 600, 2, 256),
        (23.5 - 0.6 - 3.57, 600, 2, 64),
        (130.0, 600, 2, 256),
        (0.1, 600, 2, 1),
    ],
)
def test_a_first_batch_fits(free_gib: float, width: int, bytes_per_number: int, rows: int):
    asked = {"width": width, "new_tokens": 400, "bytes_per_number": bytes_per_number}
    free = int(free_gib * GIB)
    assert rows_that_fit(MEDGEMMA, free_bytes=free, **asked) == rows
    if rows > 1:
        assert rows * row_bytes(MEDGEMMA, **asked) < free
    if 1 < rows < MOST_ROWS:
        assert 2 * rows * row_bytes(MEDGEMMA, **asked) > 0.8 * free


def test_images_fit_too():
    assert images_that_fit(MEDGEMMA, free_bytes=int(NF4_ON_H100 * GIB), bytes_per_number=2) == MOST_IMAGES
    assert images_that_fit(MEDGEMMA, free_bytes=int(NF4_ON_T4 * GIB), bytes_per_number=4) == 16
    assert images_that_fit(MEDGEMMA, free_bytes=0, bytes_per_number=4) == 1


def test_a_step_reads_the_weights_once_and_the_cache_of_each_row():
    weights = int(2.1 * GIB)
    one = decode_bytes(MEDGEMMA, rows=1, length=700, weights_bytes=weights, bytes_per_number=2)
    assert one == weights + 2 * 4 * 256 * 34 * 700 * 2
    assert decode_bytes(MEDGEMMA, rows=64, length=700, weights_bytes=weights, bytes_per_number=2) == (
        weights + 64 * (one - weights)
    )


def test_the_configuration_is_that_of_the_twin(twin):
    assert isinstance(MEDGEMMA, Gemma3Config)
    assert config_of("small").text_config.to_dict() == twin.config.text_config.to_dict()
