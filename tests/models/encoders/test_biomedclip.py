import json
import shutil

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel

from models.encoders.biomedclip import bert_config
from models.encoders.loading import load_encoder
from models.errors import InputError
from tests.models.encoders.twins import BIOMEDCLIP_CONTEXT, write_biomedclip

TEXTS = ["a normal chest radiograph of a child", "pneumonia", "consolidation in the right lower lobe", "cat"]


@pytest.fixture(scope="module")
def encoder(biomedclip_folder):
    return load_encoder("biomedclip", model=str(biomedclip_folder))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def reference(biomedclip_folder):
    """What open_clip itself makes of the folder, once it is told where the text tower's configuration is."""
    config = json.loads((biomedclip_folder / "open_clip_config.json").read_text())
    text = config["model_cfg"]["text_cfg"] | {
        "hf_model_name": str(biomedclip_folder / "text"),
        "hf_model_pretrained": False,
    }
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{biomedclip_folder}", text_cfg=text)
    return model.eval(), transform, open_clip.get_tokenizer(f"local-dir:{biomedclip_folder}")


def test_images_are_embedded_as_by_open_clip_one_by_one(encoder, reference, images):
    model, transform, _ = reference
    with torch.no_grad():
        wanted = [model.encode_image(transform(Image.fromarray(image))[None])[0] for image in images]

    found = encoder.encode_images(images, batch_size=2)

    assert (found.dtype, found.shape) == (np.float32, (5, 20))
    np.testing.assert_allclose(found, torch.stack(wanted), atol=1e-5)
    distances = np.linalg.norm(found[:, None] - found[None], axis=-1)
    assert distances[~np.eye(5, dtype=bool)].min() > 1e-3


def test_texts_are_embedded_as_by_open_clip_padded_to_its_whole_context(encoder, reference):
    model, _, tokenizer = reference
    tokens = tokenizer(TEXTS)
    assert tokens.shape == (4, BIOMEDCLIP_CONTEXT)
    with torch.no_grad():
        wanted = model.encode_text(tokens)

    found = encoder.encode_texts(TEXTS)

    assert (found.dtype, found.shape) == (np.float32, (4, 20))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    distances = np.linalg.norm(found[:, None] - found[None], axis=-1)
    assert distances[~np.eye(4, dtype=bool)].min() > 1e-2
    for position, text in enumerate(TEXTS):
        np.testing.assert_allclose(encoder.encode_texts([text])[0], found[position], atol=1e-5)


def test_vectors_repeat_and_do_not_depend_on_the_batch_size(encoder, images):
    vectors = encoder.encode_images(images)
    np.testing.assert_array_equal(encoder.encode_images(images), vectors)
    np.testing.assert_allclose(encoder.encode_images(images, batch_size=1), vectors, atol=1e-5)


def test_a_text_longer_than_the_context_is_refused_rather_than_cut(encoder):
    fits = " ".join(["pneumonia"] * (BIOMEDCLIP_CONTEXT - 2))  # and the two ends
    assert encoder.encode_texts([fits]).shape == (1, 20)
    with pytest.raises(InputError, match="too long for the encoder biomedclip, which reads 256 tokens"):
        encoder.encode_texts([f"{fits} pneumonia"])


def test_the_text_towers_shape_is_read_off_its_weights():
    published = BertConfig()  # BERT base, as BiomedBERT: 12 layers of 768 numbers, 12 heads, 30,522 tokens
    with torch.device("meta"):
        weights = BertModel(published, add_pooling_layer=False).state_dict()

    found = bert_config({f"text.transformer.{name}": tensor for name, tensor in weights.items()})

    assert found.to_dict() == published.to_dict()


def test_pickled_weights_of_an_older_transformers_are_read(encoder, images, tmp_path):
    pickled = load_encoder("biomedclip", model=str(write_biomedclip(tmp_path, pickled=True)))
    np.testing.assert_array_equal(pickled.encode_images(images), encoder.encode_images(images))
    np.testing.assert_array_equal(pickled.encode_texts(TEXTS), encoder.encode_texts(TEXTS))


def test_what_a_user_must_know_is_said(encoder):
    assert (encoder.name, encoder.dimension, encoder.licence) == ("biomedclip", 20, "MIT")
    assert encoder.identity.startswith("biomedclip sha256:")
    assert "the shorter side is resized to 160 pixels with bicubic interpolation" in encoder.preprocessing
    assert "means 0.480, 0.460, 0.410 and the standard deviations 0.270, 0.260, 0.280." in encoder.preprocessing


def test_weights_that_do_not_fit_or_cannot_be_read_are_refused(biomedclip_folder, tmp_path):
    copy = shutil.copytree(biomedclip_folder, tmp_path / "copy")
    config = json.loads((copy / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 30
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"do not fit its open_clip_config.json .*size mismatch") as refused:
        load_encoder("biomedclip", model=str(copy))
    assert "\n" not in str(refused.value)

    (copy / "open_clip_model.safetensors").unlink()
    (copy / "open_clip_pytorch_model.bin").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"The checkpoint of biomedclip in .* cannot be read .*; copy or download"):
        load_encoder("biomedclip", model=str(copy))
