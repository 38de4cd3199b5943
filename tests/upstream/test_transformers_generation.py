"""What `models/report_generation/medgemma/gemma3.py` relies on in transformers, bitsandbytes and xgrammar."""

import numpy as np
import pytest
import torch
import xgrammar
from PIL import Image
from safetensors.torch import load_file, save_file

from models.report_generation.medgemma import gemma3
from models.report_generation.medgemma.checkpoint import load_model, resolve_source
from tests.support.medgemma_twin import write_checkpoint

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
TEXT = "Is this chest radiograph normal?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def loaded(folder):
    return load_model(resolve_source(str(folder), None, None), "fp32", "cpu", None)


def test_the_processor_makes_of_an_image_full_image_sequence_in_place_of_boi_token(loaded):
    processor = loaded.processor
    inputs = gemma3.chat_inputs(processor, Image.fromarray(IMAGES[0]), TEXT)
    content = [{"type": "image"}, {"type": "text", "text": TEXT}]
    tokens = gemma3.prompt_tokens(processor, [{"role": "user", "content": content}])
    assert list(tokens) == inputs["input_ids"][0].tolist()
    places = inputs["input_ids"] == processor.tokenizer.image_token_id
    assert places.sum() == processor.image_seq_length
    assert torch.equal(inputs["token_type_ids"], places.long())
    side = loaded.model.config.vision_config.image_size
    assert inputs["pixel_values"].shape == (1, 3, side, side)
    black = gemma3.chat_inputs(processor, Image.new("L", (28, 28)), TEXT)
    assert black["pixel_values"].unique().tolist() == [-1]


def test_get_image_features_pooler_output_takes_the_places_of_embeddings_in_the_first_pass(loaded):
    model, processor = loaded.model, loaded.processor
    inputs = dict(gemma3.chat_inputs(processor, Image.fromarray(IMAGES[1]), TEXT))
    with torch.inference_mode():
        expected = model(**inputs, logits_to_keep=1).logits
        features = gemma3.image_features(model, processor, IMAGES)
        del inputs["pixel_values"]
        with gemma3.features_in_place(model, processor.tokenizer.image_token_id, features[1:]):
            found = model(**inputs, logits_to_keep=1).logits
    assert features.shape == (2, processor.image_seq_length, model.config.text_config.hidden_size)
    assert found.shape[1] == 1
    torch.testing.assert_close(found, expected)


def test_a_forward_hook_of_the_input_embeddings_that_never_ran_is_noticed(loaded):
    with (
        pytest.raises(RuntimeError, match="without its image features"),
        gemma3.features_in_place(loaded.model, 0, torch.zeros(1, 4, 64)),
    ):
        pass
    assert not loaded.model.get_input_embeddings()._forward_hooks


def test_output_loading_info_names_missing_and_mismatched_keys(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    gone, cut = [name for name in sorted(tensors) if name.endswith("q_proj.weight")][:2]
    tensors[cut] = tensors[cut][:1].clone()
    del tensors[gone]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    _, unfit = gemma3.load_network(tmp_path, torch.float32, "cpu", nf4=False)
    assert len(unfit) == 2
    assert {name.split("layers.")[1].split(".weight")[0] for name in unfit} == {
        name.split("layers.")[1].split(".weight")[0] for name in (gone, cut)
    }


def test_llm_int8_skip_modules_keeps_all_but_the_language_models_linear_layers_whole(folder):
    gemma3.try_nf4("cpu")
    model, unfit = gemma3.load_network(folder, torch.float32, "cpu", nf4=True)
    assert not unfit
    linears = gemma3.language_linears(model)
    assert gemma3.quantized_layers(model) == set(linears)
    packed = sum(linear.weight.nbytes for linear in linears.values())
    scales = sum(
        scale.nbytes
        for linear in linears.values()
        for scale in linear.weight.quant_state.as_dict().values()
        if isinstance(scale, torch.Tensor)
    )
    rest = sum(
        weight.nbytes for name, weight in model.named_parameters() if name.removesuffix(".weight") not in linears
    )
    assert 0 < scales < packed
    assert gemma3.resident_bytes(model) == packed + scales + rest


def test_xgrammars_decoded_vocab_and_matchers_hold_a_row_to_a_grammar(loaded):
    tokenizer, width = loaded.processor.tokenizer, loaded.model.config.text_config.vocab_size
    found = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=width, stop_token_ids=[1])
    assert len(found.decoded_vocab) == width
    assert found.decoded_vocab[tokenizer.convert_tokens_to_ids("Yes")] == b"Yes"
    assert tokenizer.added_tokens_decoder[tokenizer.image_token_id].special
    grammar = xgrammar.GrammarCompiler(found).compile_json_schema('{"type": "boolean"}', any_whitespace=False)
    matchers, masks = [xgrammar.GrammarMatcher(grammar) for _ in range(2)], torch.full((3, -(-width // 32)), -1)
    masks = masks.to(torch.int32)
    batch = xgrammar.BatchGrammarMatcher()
    batch.batch_fill_next_token_bitmask(matchers, masks.numpy(), [2, 0])  # a view is filled; row 1 is left as it is
    assert (masks[1] == -1).all()
    bits = (masks[:, :, None] >> torch.arange(32) & 1).flatten(1).bool()[:, :width]  # a token's bit, from the lowest
    for row in (0, 2):
        assert {found.decoded_vocab[token][:1] for token in bits[row].nonzero().flatten().tolist()} == {b"t", b"f"}
    letter = found.decoded_vocab.index(b"t")
    assert batch.batch_accept_token(matchers, [letter, letter]) == [True, True]
    assert batch.batch_accept_token(matchers[:1], [letter]) == [False]
    assert not matchers[0].is_terminated()
