"""What `models.encoders.open_clip_custom_text` uses of open_clip beyond its documentation."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.factory import load_state_dict
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from transformers import BertModel

from models.encoders.open_clip_custom_text import bert_config
from tests.models.encoders.twins import write_biomedclip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_biomedclip(tmp_path_factory.mktemp("biomedclip"))


def test_weights_are_read_of_safetensors_and_of_a_pickle_which_may_hold_tensors_only(folder: Path, tmp_path: Path):
    weights = load_state_dict(str(folder / "open_clip_model.safetensors"))
    torch.save(weights, tmp_path / "weights.bin")
    pickled = load_state_dict(str(tmp_path / "weights.bin"))
    assert pickled.keys() == weights.keys()
    torch.save({"weights": Path("anything")}, tmp_path / "weights.bin")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        load_state_dict(str(tmp_path / "weights.bin"))


def test_the_text_tower_is_a_model_of_transformers_whose_configuration_may_be_a_folder(folder: Path):
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    text = config["text_cfg"] | {"hf_model_name": str(folder / "text"), "hf_model_pretrained": False}
    model = open_clip.CustomTextCLIP(config["embed_dim"], config["vision_cfg"], text)
    assert isinstance(model.text.transformer, BertModel)
    assert model.visual.image_size in (160, (160, 160))
    weights = load_state_dict(str(folder / "open_clip_model.safetensors"))
    assert weights.keys() == model.state_dict().keys()
    assert bert_config(weights).hidden_size == model.text.transformer.config.hidden_size == 128


def test_the_preprocessing_is_that_of_the_configuration_with_the_size_of_the_network():
    preprocess = merge_preprocess_dict({"size": 160}, {"mean": [0.5, 0.25, 0.75], "std": [0.5, 0.25, 0.25]})
    pixels = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)(Image.new("RGB", (40, 61), (51, 51, 51)))
    torch.testing.assert_close(pixels[:, 80, 80], torch.tensor([-0.6, -0.2, -2.2]))
    assert pixels.shape == (3, 160, 160)


def test_the_tokenizer_of_a_folder_pads_to_any_length_and_names_its_padding(folder: Path):
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    assert tokenizer.context_length == 256
    tokens = tokenizer(["pneumonia " * 300, "cat"], context_length=257)
    assert tokens.shape == (2, 257)
    assert (tokens != tokenizer.tokenizer.pad_token_id).sum(dim=1).tolist() == [257, 3]
