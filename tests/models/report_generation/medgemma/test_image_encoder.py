from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.report_generation.medgemma.batching import BatchCeiling
from models.report_generation.medgemma.checkpoint import LoadedModel, load_model, resolve_source
from models.report_generation.medgemma.image_encoder import ImageEncoder

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def loaded(small_checkpoint: Path) -> LoadedModel:
    return load_model(resolve_source(str(small_checkpoint), None, None), "fp32", "cpu", None)


def encoder(loaded: LoadedModel, uses: list[int]) -> ImageEncoder:
    return ImageEncoder(loaded.model, loaded.processor, BatchCeiling(2), IMAGES, uses)


def test_features_are_those_of_the_rgb_pictures_in_the_order_asked(loaded: LoadedModel):
    asked = [3, 0, 3, 2]
    pictures = [Image.fromarray(IMAGES[position]).convert("RGB") for position in asked]
    pixels = loaded.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = loaded.model.get_image_features(pixels).pooler_output
        features = encoder(loaded, asked).features(asked)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    assert features.shape == (4, 4, 64)  # of the small checkpoint: 4 tokens, 64 wide


def test_features_are_kept_until_their_last_use(loaded: LoadedModel):
    encoded: list[int] = []
    tower = loaded.model.model.vision_tower
    hook = tower.register_forward_pre_hook(
        lambda module, arguments, named: encoded.append(len(named["pixel_values"])), with_kwargs=True
    )
    images = encoder(loaded, [0, 1, 0])
    try:
        with torch.inference_mode():
            images.features([0, 1])
            images.release([0, 1])
            images.features([0])
            assert encoded == [2]
            images.features([1])
            assert encoded == [2, 1]
            images.release([0])
            images.features([0])
            assert encoded == [2, 1, 1]
    finally:
        hook.remove()
