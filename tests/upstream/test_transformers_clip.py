"""What `models.encoders.transformers_clip` uses of transformers beyond its documentation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessor, CLIPModel

from tests.models.encoders.twins import write_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def test_the_loading_report_names_tensors_that_are_missing_or_of_another_shape(folder: Path, tmp_path: Path):
    model, report = CLIPModel.from_pretrained(folder, output_loading_info=True)
    assert not [*report["missing_keys"], *report["mismatched_keys"], *report["error_msgs"]]
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"projection_dim": 30}))
    _, report = CLIPModel.from_pretrained(tmp_path, ignore_mismatched_sizes=True, output_loading_info=True)
    assert len(report["mismatched_keys"]) == 2


def test_the_features_of_a_tower_are_its_projected_pooler_output(folder: Path):
    model = CLIPModel.from_pretrained(folder).eval()
    images, tokens = torch.rand(2, 3, 32, 32), torch.tensor([[1, 5, 2]])
    with torch.inference_mode():
        wanted = model.visual_projection(model.vision_model(pixel_values=images).pooler_output)
        torch.testing.assert_close(model.get_image_features(pixel_values=images).pooler_output, wanted)
        wanted = model.text_projection(model.text_model(input_ids=tokens).pooler_output)
        torch.testing.assert_close(model.get_text_features(input_ids=tokens).pooler_output, wanted)


def test_the_image_processor_takes_arrays_and_the_order_of_their_axes(folder: Path):
    processor = CLIPImageProcessor.from_pretrained(folder)
    image = np.random.default_rng(0).integers(0, 256, (40, 61, 3), dtype=np.uint8)
    last = processor([image], input_data_format="channels_last", device="cpu", return_tensors="pt").pixel_values
    first = processor([image.transpose(2, 0, 1)], input_data_format="channels_first", return_tensors="pt").pixel_values
    torch.testing.assert_close(last, first)
