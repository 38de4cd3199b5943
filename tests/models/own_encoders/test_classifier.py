import hashlib

import numpy as np
import pytest
import torch

from models.classifier.classifiers import build_classifier
from models.classifier.weights import dump
from models.errors import InputError
from models.own_encoders.classifier import ClassifierEncoder

CARD = {
    "architecture": "compact28",
    "classes": 2,
    "channels": 1,
    "normalization": {"mean": [0.57], "std": [0.17]},
    "image_size": 28,
}


@pytest.fixture(scope="module")
def model():
    return build_classifier("compact28", seed=4).eval()


@pytest.fixture(scope="module")
def payload(model):
    return dump(model, CARD)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


def test_vectors_are_the_features_before_the_head_averaged_over_the_mirror_image(model, payload, images):
    pixels = (torch.tensor(images)[:, None].float() / 255 - 0.57) / 0.17
    with torch.no_grad():
        wanted = (model.backbone(pixels) + model.backbone(pixels.flip(3))) / 2

    encoder = ClassifierEncoder(payload)
    found = encoder.encode_images(images, batch_size=2)

    assert (found.dtype, found.shape) == (np.float32, (5, encoder.dimension))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(images, batch_size=5), found, rtol=1e-4, atol=1e-5)


def test_it_is_named_by_the_digest_of_its_weights(payload):
    digest = hashlib.sha256(payload).hexdigest()
    assert ClassifierEncoder.identify(digest) == f"classifier sha256:{digest}"


def test_images_of_another_size_and_texts_are_refused(payload):
    encoder = ClassifierEncoder(payload)
    with pytest.raises(InputError, match=r"of shape \(2, 32, 28\), but the classifier reads 28×28 pixels; resize them"):
        encoder.encode_images(np.zeros((2, 32, 28), np.uint8))
    with pytest.raises(InputError, match="The encoder classifier reads no text; text queries need one of clip"):
        encoder.encode_texts(["pneumonia"])
