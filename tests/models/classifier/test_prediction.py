import numpy as np
import pytest
import torch

from models.classifier.classifiers import build_classifier
from models.classifier.prediction import predict
from models.classifier.preprocessing import Normalization, to_tensor

NORMALIZATION = Normalization([0.5], [0.25])


def random_images(count=5):
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    return build_classifier("compact28", seed=3)


@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_gives_what_single_images_give(model, flip):
    images = random_images()
    prediction = predict(model, images, NORMALIZATION, batch_size=2, flip=flip)
    assert model.training, "the mode is restored"
    assert prediction.logits.dtype == prediction.embeddings.dtype == np.float32
    assert prediction.logits.shape == (5,)
    assert prediction.embeddings.shape == (5, 512)
    model.eval()
    with torch.no_grad():
        for index, image in enumerate(images):
            views = [image, image[:, ::-1]] if flip else [image]
            pixels = [to_tensor(np.ascontiguousarray(view)[None], NORMALIZATION) for view in views]
            logit = np.mean([float(model(view)) for view in pixels])
            embedding = np.mean([model.embed(view)[0].numpy() for view in pixels], axis=0)
            assert prediction.logits[index] == pytest.approx(logit, abs=1e-4)
            np.testing.assert_allclose(prediction.embeddings[index], embedding, atol=1e-4)
    model.train()


def test_the_mirror_image_has_the_same_features(model):
    images = random_images()
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    ours, theirs = (predict(model, stack, NORMALIZATION).embeddings for stack in (images, mirrored))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    plain = predict(model, mirrored, NORMALIZATION, flip=False).embeddings
    assert not np.allclose(plain, ours, atol=1e-5)


def test_several_classes_and_colours(model):
    images = np.random.default_rng(1).integers(0, 256, (5, 28, 28, 3), dtype=np.uint8)
    normalization = Normalization([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    classifier = build_classifier("compact28", classes=4, channels=3).eval()
    prediction = predict(classifier, images, normalization, batch_size=2, flip=False)
    with torch.no_grad():
        expected = torch.cat([classifier(to_tensor(image[None], normalization)) for image in images])
    assert prediction.logits.shape == (5, 4)
    np.testing.assert_allclose(prediction.logits, expected, atol=1e-4)


@pytest.mark.parametrize(("classes", "shape"), [(2, (0,)), (3, (0, 3))])
def test_no_images_give_no_logits(classes, shape):
    prediction = predict(build_classifier("compact28", classes=classes), random_images(0), NORMALIZATION)
    assert prediction.logits.shape == shape
    assert prediction.embeddings.shape == (0, 512)
