import hashlib

import numpy as np
import pytest
import safetensors.numpy
import torch
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

from models.classifier.classifiers import build_classifier
from models.classifier.pretrained import imagenet_file
from models.classifier.weights import dump
from models.errors import InputError
from models.own_encoders.classifier import ClassifierEncoder
from models.own_encoders.metric import SHARE, MetricEncoder

FITTED, ENCODED = 30, 10  # images; fewer than the components, of which 29 are left then
CARD = {
    "architecture": "compact28",
    "classes": 2,
    "channels": 1,
    "normalization": {"mean": [0.57], "std": [0.17]},
    "image_size": 28,
}


@pytest.fixture(scope="module")
def images(official_file):
    with np.load(official_file) as arrays:
        return arrays["train_images"][: FITTED + ENCODED]


@pytest.fixture(scope="module")
def payload():
    return dump(build_classifier("compact28", seed=4).eval(), CARD)


@pytest.fixture(scope="module")
def projection(images):
    return MetricEncoder.fit(images[:FITTED])


@pytest.fixture(scope="module")
def encoder(payload, projection):
    return MetricEncoder(payload, projection)


@pytest.fixture(scope="module")
def found(encoder, images):
    return encoder.encode_images(images[FITTED:])


@pytest.fixture(scope="module")
def parts(payload, images):
    """What the two parts must be before they are normalised: the classifier's vectors, and the other's components."""
    backbone = build_classifier("efficientnet_lite0", pretrained=imagenet_file("efficientnet_lite0")).eval()
    pixels = torch.tensor(images)[:, None].float() / 127.5 - 1
    with torch.inference_mode():
        features = ((backbone.embed(pixels) + backbone.embed(pixels.flip(3))) / 2).double().numpy()
    scaler = StandardScaler().fit(features[:FITTED])
    principal = PCA(FITTED - 1, svd_solver="full").fit(scaler.transform(features[:FITTED]))
    seen = principal.transform(scaler.transform(features[FITTED:]))
    return ClassifierEncoder(payload).encode_images(images[FITTED:]), seen


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_vectors_are_both_parts_normalised_one_behind_the_other(encoder, found, parts):
    trained, seen = parts
    split = trained.shape[1]
    assert (found.dtype, found.shape) == (np.float32, (ENCODED, split + FITTED - 1))
    assert found.shape[1] == encoder.dimension
    np.testing.assert_allclose(found[:, :split], unit(trained), rtol=1e-4, atol=1e-5)
    expected = SHARE * unit(seen)
    signs = np.sign((found[:, split:] * expected).sum(axis=0))  # a component may point either way
    np.testing.assert_allclose(found[:, split:] * signs, expected, atol=2e-4)


def test_the_cosine_is_the_weighted_mean_of_both_cosines(found, parts):
    expected = np.average([cosine_similarity(part) for part in parts], axis=0, weights=[1, SHARE**2])
    np.testing.assert_allclose(cosine_similarity(found), expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_vectors_do_not_depend_on_the_batch(encoder, images, found):
    np.testing.assert_allclose(encoder.encode_images(images[FITTED:][::-1], batch_size=3)[::-1], found, atol=1e-5)


def test_the_identity_names_every_part():
    digests = [hashlib.sha256(part).digest() for part in (b"a", b"b", imagenet_file("efficientnet_lite0").read_bytes())]
    whole = hashlib.sha256(b"".join(digests)).hexdigest()
    assert MetricEncoder.identify(digests[0].hex(), digests[1].hex()) == f"metric sha256:{whole}"


def test_the_projection_repeats_bit_by_bit(images, projection):
    assert MetricEncoder.fit(images[:FITTED].copy()) == projection


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the shares of variance, which nobody reads
def test_features_that_never_move_divide_nothing_by_zero(images):
    tensors = safetensors.numpy.load(MetricEncoder.fit(np.repeat(images[:1], 3, axis=0)))
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-10],
        lambda content: b"",
        lambda content: safetensors.numpy.save({"mean": safetensors.numpy.load(content)["mean"]}),
    ],
)
def test_a_damaged_projection_is_one_sentence(payload, projection, spoil):
    with pytest.raises(InputError, match=r"^The projection of the encoder `metric` .*; fit it again on") as refused:
        MetricEncoder(payload, spoil(projection))
    assert "\n" not in str(refused.value)


def test_a_damaged_classifier_is_one_sentence(payload, projection):
    with pytest.raises(InputError, match=r"or train again\.$") as refused:
        MetricEncoder(payload[:-10], projection)
    assert "\n" not in str(refused.value)


def test_images_of_another_size_and_texts_are_refused(encoder):
    with pytest.raises(InputError, match=r"of shape \(2, 64, 64\), but the classifier reads 28×28 pixels; resize them"):
        encoder.encode_images(np.zeros((2, 64, 64), np.uint8))
    with pytest.raises(InputError, match="The encoder metric reads no text; text queries need one of clip"):
        encoder.encode_texts(["pneumonia"])
