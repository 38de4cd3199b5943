from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.report_generation.medgemma.checkpoint import LoadedModel, load_model, resolve_source
from models.report_generation.medgemma.image_encoder import ImageEncoder

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def loaded(small_checkpoint: Path) -> LoadedModel:
    return load_model(resolve_source(str(small_checkpoint), None, None), "fp32", "cpu", None)


def encoder(loaded: LoadedModel, uses: list[int]) -> ImageEncoder:
    return ImageEncoder(loaded.model, loaded.processor, 2, IMAGES, uses)


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
            assert encoded == [2, 2]
            images.release([0])
            images.features([0])
            assert encoded == [2, 2, 2]
    finally:
        hook.remove()


def test_an_image_is_encoded_beside_those_of_its_task_that_are_done(loaded: LoadedModel):
    def in_batches(uses: list[int], asked: list[int]) -> tuple[list[torch.Tensor], torch.Tensor]:
        pixels: list[torch.Tensor] = []
        hook = loaded.model.model.vision_tower.register_forward_pre_hook(
            lambda module, arguments, named: pixels.append(named["pixel_values"]), with_kwargs=True
        )
        try:
            with torch.inference_mode():
                images = ImageEncoder(loaded.model, loaded.processor, 2, IMAGES, uses, known=[1, 0, 3, 2])
                return pixels, images.features(asked)
        finally:
            hook.remove()

    whole, expected = in_batches([0, 1, 2, 3], [0, 1, 2, 3])
    left, features = in_batches([3], [3])
    assert [len(batch) for batch in whole] == [2, 2]
    assert len(left) == 1
    assert torch.equal(left[0], whole[1])
    assert torch.equal(features, expected[3:])
