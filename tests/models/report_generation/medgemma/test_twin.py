import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
)

from models.report_generation.medgemma.source import RANDOM_WEIGHTS_MARK
from tests.support.medgemma_twin import build_model, write_checkpoint


@pytest.fixture(scope="module")
def processor(small_checkpoint: Path) -> Gemma3Processor:
    return AutoProcessor.from_pretrained(small_checkpoint)


@pytest.fixture(scope="module")
def model(small_checkpoint: Path) -> Gemma3ForConditionalGeneration:
    return AutoModelForImageTextToText.from_pretrained(small_checkpoint)


def test_the_automatic_classes_load_it_as_medgemma(
    model: Gemma3ForConditionalGeneration, processor: Gemma3Processor
) -> None:
    assert isinstance(model, Gemma3ForConditionalGeneration)
    assert isinstance(processor, Gemma3Processor)
    assert 1e5 < sum(weight.numel() for weight in model.parameters()) < 3e5


def test_special_tokens_have_gemma_3s_ids(processor: Gemma3Processor) -> None:
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    assert processor.tokenizer.convert_tokens_to_ids(names) == [0, 1, 2, 3, 105, 106]
    assert processor.tokenizer("Yes<end_of_turn>")["input_ids"][-1] == 106


def test_the_networks_image_tokens_are_the_tokenizers(
    model: Gemma3ForConditionalGeneration, processor: Gemma3Processor
) -> None:
    config, tokenizer = model.config, processor.tokenizer
    assert (config.boi_token_index, config.eoi_token_index) == (tokenizer.boi_token_id, tokenizer.eoi_token_id)
    assert config.image_token_index == tokenizer.image_token_id


def test_every_token_that_the_network_may_choose_can_be_read(processor: Gemma3Processor) -> None:
    tokenizer = processor.tokenizer
    assert len(tokenizer) == 2047
    assert all(tokenizer.decode([token]) for token in range(2047))
    text = "The X-ray of a child – 28×28 pixels."
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_a_prompt_is_worded_as_gemma_3_words_it(processor: Gemma3Processor) -> None:
    content = [{"type": "image"}, {"type": "text", "text": " Describe it. "}]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": "Normal."}]},
        {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
    ]
    assert processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) == (
        "<bos><start_of_turn>user\nBe brief.\n\n<start_of_image>Describe it.<end_of_turn>\n"
        "<start_of_turn>model\nNormal.<end_of_turn>\n"
        "<start_of_turn>user\nSure?<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


def test_batches_are_padded_on_the_left(processor: Gemma3Processor) -> None:
    short, long = processor.tokenizer(["Yes", "Yes No Yes"], padding=True)["input_ids"]
    assert len(short) == len(long)
    assert short[0] == 0
    assert short[-1] != 0


def test_generation_stops_at_the_end_of_a_turn(model: Gemma3ForConditionalGeneration) -> None:
    assert model.generation_config.eos_token_id == [1, 106]
    # The output layer is the embedding: with all its rows equal, every token is as likely, and with that of 106
    # the longest along what comes out, it is chosen.
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    try:
        with torch.no_grad():
            hidden = model.model(torch.tensor([[2, 5]])).last_hidden_state[0, -1]
            model.lm_head.weight[106] = 100 * hidden
        tokens = model.generate(torch.tensor([[2, 5]]), max_new_tokens=5, do_sample=False)
    finally:
        model.load_state_dict(state)
    assert tokens.tolist() == [[2, 5, 106]]


def test_the_mark_of_random_weights_survives_saving(
    small_checkpoint: Path, model: Gemma3ForConditionalGeneration, tmp_path: Path
) -> None:
    assert json.loads((small_checkpoint / "config.json").read_text())[RANDOM_WEIGHTS_MARK] is True
    model.save_pretrained(tmp_path)
    assert getattr(AutoConfig.from_pretrained(tmp_path), RANDOM_WEIGHTS_MARK) is True


def test_a_seed_decides_the_weights_and_leaves_other_draws_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one = build_model(seed=0).state_dict()
    assert torch.equal(torch.rand(1), expected)

    same, other = build_model(seed=0).state_dict(), build_model(seed=1).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    name = "model.multi_modal_projector.mm_input_projection_weight"
    assert not torch.equal(one[name], other[name])
    assert one[name].std() == pytest.approx(32**-0.5, rel=0.1)


def test_weights_are_written_in_the_number_format_asked_for(tmp_path: Path) -> None:
    before = torch.get_default_dtype()
    folder = write_checkpoint(tmp_path / "bf16", dtype=torch.bfloat16)
    loaded = AutoModelForImageTextToText.from_pretrained(folder)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == before


def test_the_large_shape_is_medgemma_4bs() -> None:
    large = build_model("4b", device="meta")
    assert sum(weight.numel() for weight in large.parameters()) == 4_300_079_472
    config = large.config
    assert (config.vision_config.image_size, config.mm_tokens_per_image) == (896, 256)
    assert config.text_config.layer_types.index("full_attention") == 5
