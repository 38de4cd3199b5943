import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from models.encoders.loading import load_encoder
from models.errors import InputError
from tests.models.encoders.twins import CLIP_CONTEXT, write_clip

TEXTS = ["a normal chest radiograph of a child", "pneumonia", "consolidation in the right lower lobe", "cat"]


@pytest.fixture(scope="module")
def encoder(clip_folder):
    return load_encoder("clip", model=str(clip_folder))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)


def test_images_are_embedded_as_by_transformers_one_by_one(clip_folder, encoder, images):
    model, processor = CLIPModel.from_pretrained(clip_folder).eval(), CLIPProcessor.from_pretrained(clip_folder)
    with torch.no_grad():
        wanted = [
            model.get_image_features(
                **processor(images=Image.fromarray(image).convert("RGB"), return_tensors="pt")
            ).pooler_output[0]
            for image in images
        ]

    found = encoder.encode_images(images, batch_size=3)

    assert (found.dtype, found.shape) == (np.float32, (7, 24))
    np.testing.assert_allclose(found, torch.stack(wanted), atol=1e-5)


def test_grey_is_colour_of_equal_channels_and_any_size_will_do(encoder, images):
    colour = np.stack([images] * 3, axis=-1)
    np.testing.assert_array_equal(encoder.encode_images(colour), encoder.encode_images(images))
    wide = np.random.default_rng(1).integers(0, 256, (2, 40, 61, 3), dtype=np.uint8)
    assert encoder.encode_images(wide).shape == (2, 24)
    assert not np.allclose(encoder.encode_images(wide), encoder.encode_images(wide[..., ::-1]), atol=1e-3)


def test_vectors_repeat_and_do_not_depend_on_the_batch_size(encoder, images):
    vectors = encoder.encode_images(images, batch_size=7)
    np.testing.assert_array_equal(encoder.encode_images(images, batch_size=7), vectors)
    for batch_size in (1, 2, 100):
        np.testing.assert_allclose(encoder.encode_images(images, batch_size=batch_size), vectors, atol=1e-5)


def test_vectors_depend_on_the_image_and_are_not_normalised(encoder, images):
    vectors = encoder.encode_images(images)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    assert distances[~np.eye(7, dtype=bool)].min() > 1e-3
    assert np.ptp(np.linalg.norm(vectors, axis=1)) > 1e-3


def test_texts_are_embedded_as_by_transformers_one_by_one_so_padding_changes_nothing(clip_folder, encoder):
    model, processor = CLIPModel.from_pretrained(clip_folder).eval(), CLIPProcessor.from_pretrained(clip_folder)
    with torch.no_grad():
        wanted = [
            model.get_text_features(**processor(text=[text], return_tensors="pt")).pooler_output[0] for text in TEXTS
        ]

    found = encoder.encode_texts(TEXTS)

    assert (found.dtype, found.shape) == (np.float32, (4, 24))
    np.testing.assert_allclose(found, torch.stack(wanted), atol=1e-5)
    distances = np.linalg.norm(found[:, None] - found[None], axis=-1)
    assert distances[~np.eye(4, dtype=bool)].min() > 1e-2


def test_more_texts_than_fit_a_pass(encoder):
    many = [TEXTS[i % 4] for i in range(130)]
    np.testing.assert_allclose(encoder.encode_texts(many), encoder.encode_texts(TEXTS)[np.arange(130) % 4], atol=1e-5)


def test_nothing_gives_no_vectors(encoder):
    assert encoder.encode_images(np.empty((0, 28, 28), np.uint8)).shape == (0, 24)
    assert encoder.encode_texts([]).shape == (0, 24)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 28, 28), np.float32), np.zeros((28, 28), np.uint8), np.zeros((2, 28, 28, 4), np.uint8)]
)
def test_other_images_are_refused(encoder, images):
    with pytest.raises(InputError, match=r"but uint8 of shape \(images, height, width\) or"):
        encoder.encode_images(images)


def test_an_empty_or_too_long_text_is_refused(encoder):
    with pytest.raises(InputError, match="Text 2 of 2 is empty; describe"):
        encoder.encode_texts(["pneumonia", " \n"])
    fits = " ".join(["pneumonia"] * (CLIP_CONTEXT - 2))  # and the two ends
    assert encoder.encode_texts([fits]).shape == (1, 24)
    with pytest.raises(InputError, match="too long for the encoder clip, which reads 77 tokens"):
        encoder.encode_texts(["cat", f"{fits} pneumonia"])


def test_what_a_user_must_know_is_said(encoder):
    assert (encoder.name, encoder.dimension, encoder.licence) == ("clip", 24, "MIT")
    assert encoder.identity.startswith("clip sha256:")
    assert encoder.preprocessing == (
        "Grey is repeated into three channels, the shorter side is resized to 32 pixels with bicubic interpolation and "
        "antialiasing, the middle 32×32 pixels are kept, and the channels are normalised by the means 0.481, 0.458, "
        "0.408 and the standard deviations 0.269, 0.261, 0.276."
    )


def test_pickled_tensors_are_read_and_nothing_else(clip_folder, encoder, images, tmp_path):
    pickled = write_clip(tmp_path / "pickled", pickled=True)
    np.testing.assert_array_equal(
        load_encoder("pubmedclip", model=str(pickled)).encode_images(images), encoder.encode_images(images)
    )

    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    torch.save({"weights": Evil()}, pickled / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"The checkpoint of pubmedclip in .* cannot be read"):
        load_encoder("pubmedclip", model=str(pickled))


def test_weights_of_another_shape_are_refused(clip_folder, tmp_path):
    import json

    copy = shutil.copytree(clip_folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    config["projection_dim"] = 30
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"do not fit its config.json \(2 tensors are missing or of another shape"):
        load_encoder("clip", model=str(copy))


def test_a_damaged_tokenizer_is_refused(clip_folder, tmp_path):
    copy = shutil.copytree(clip_folder, tmp_path / "copy")
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"The checkpoint of clip in .* cannot be read .*; copy or download its files"):
        load_encoder("clip", model=str(copy))
